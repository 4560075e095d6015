"""Spans, log lines and metric points as they arrived, reduced to plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """Who sent it."""

    attributes: Attributes

    @property
    def service(self) -> str:
        """``service.name``, empty when absent."""
        return str(self.attributes.get("service.name", ""))


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a span; ``time`` in unix nanoseconds."""

    name: str
    time: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a span, ids as lower-case hex."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """One span; ids as lower-case hex, ``parent_id`` empty for a root, times in nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    start: int
    end: int
    status: str
    status_message: str
    attributes: Attributes
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    resource: Resource
    scope: str
    flags: int = 0
    dropped_attributes: int = 0

    @property
    def seconds(self) -> float:
        """Its duration."""
        return (self.end - self.start) / 1e9

    @property
    def service(self) -> str:
        """The service that sent it."""
        return self.resource.service

    def named_events(self, name: str) -> tuple[Event, ...]:
        """Its events called ``name``."""
        return tuple(event for event in self.events if event.name == name)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One log record; ids empty when it belongs to no trace."""

    body: Any
    severity: str
    time: int
    trace_id: str
    span_id: str
    event_name: str
    attributes: Attributes
    resource: Resource
    scope: str


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measurement and the span in which it was made, ids as lower-case hex."""

    value: float
    time: int
    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One data point; ``value`` of a sum or gauge, ``count``/``sum``/``buckets`` of a histogram."""

    name: str
    unit: str
    kind: str
    attributes: Attributes
    start: int
    time: int
    value: float | None
    count: int
    sum: float
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    temporality: str
    monotonic: bool
    resource: Resource
    scope: str
    exemplars: tuple[Exemplar, ...] = ()


@dataclass(slots=True)
class Inbox:
    """Everything decoded so far, in order of arrival."""

    spans: list[Span] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    metrics: list[MetricPoint] = field(default_factory=list)
    exports: dict[str, int] = field(default_factory=dict)
