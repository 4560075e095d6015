"""What travels with a message: the propagator's keys and four of our own, all ``str -> str``."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_taskqueue import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Link, SpanContext

#: The longest value taken from a message (bytes); the W3C baggage limit is the largest of all.
LONGEST_VALUE = 8192
_OUR_KEYS = (semconv.ENQUEUED_AT, semconv.FIRST_ENQUEUED_AT, semconv.ATTEMPT, semconv.PREVIOUS)
_TRACE_CONTEXT = TraceContextTextMapPropagator()


def select(message: Mapping[str, object]) -> dict[str, str]:
    """The carrier inside a message's headers: only our keys, only text, only of sane length."""
    found: dict[str, str] = {}
    for key in _keys(propagate.get_global_textmap()):
        value = message.get(key)
        if isinstance(value, str) and len(value) <= LONGEST_VALUE:
            found[key] = value
    return found


def extract(carrier: Mapping[str, str]) -> Context:
    """The sender's context, on top of nothing: no local span or suppression leaks into it."""
    if not carrier:
        return Context()
    return propagate.extract(carrier, Context())


def inject(first_enqueued: str | None = None) -> dict[str, str]:
    """A new carrier for the current context, stamped with the time of sending."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    now = str(time.time_ns())
    carrier[semconv.ENQUEUED_AT] = now
    carrier[semconv.FIRST_ENQUEUED_AT] = first_enqueued or now
    return carrier


def names_sender(carrier: Mapping[str, str]) -> bool:
    """Whether it leads to a span, by whatever propagator is configured."""
    return trace.get_current_span(extract(carrier)).get_span_context().is_valid


def for_retry(original: Mapping[str, str], previous: SpanContext | None) -> dict[str, str]:
    """The carrier of the next attempt: the original sender's context and a link to this attempt."""
    carrier = dict(original)
    carrier[semconv.ENQUEUED_AT] = str(time.time_ns())
    carrier.setdefault(semconv.FIRST_ENQUEUED_AT, carrier[semconv.ENQUEUED_AT])
    carrier.pop(semconv.PREVIOUS, None)
    if previous is not None and previous.is_valid:
        carrier[semconv.PREVIOUS] = to_traceparent(previous)
    return carrier


def enqueued_at(carrier: Mapping[str, str]) -> int:
    """When the message was sent (unix nanoseconds); 0 when it does not say."""
    return _nanoseconds(carrier, semconv.ENQUEUED_AT)


def first_enqueued_at(carrier: Mapping[str, str]) -> int:
    """When the job was sent for the first time (unix nanoseconds); 0 when the message does not say."""
    return _nanoseconds(carrier, semconv.FIRST_ENQUEUED_AT)


def wait(enqueued: int, eta: int = 0, taken: int = 0) -> float | None:
    """Seconds in the queue, free of the delay that was asked for; None when not known.

    ``taken`` is the time (unix nanoseconds) a process took the job, 0 = now.
    """
    if not enqueued:
        return None
    return max(0, (taken or time.time_ns()) - max(enqueued, eta)) / 1e9


def previous_attempt(carrier: Mapping[str, str]) -> tuple[Link, ...]:
    """A link to the attempt before, when the message names one."""
    context = from_traceparent(carrier.get(semconv.PREVIOUS))
    return (trace.Link(context),) if context is not None else ()


def to_traceparent(context: SpanContext) -> str:
    """``00-<trace id>-<span id>-<flags>`` as W3C Trace Context section 3.2 has it."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def from_traceparent(value: str | None) -> SpanContext | None:
    """The span context of a traceparent value, None when it is missing or malformed."""
    if not value:
        return None
    extracted = _TRACE_CONTEXT.extract({semconv.TRACEPARENT: value}, Context())
    context = trace.get_current_span(extracted).get_span_context()
    return context if context.is_valid else None


@functools.lru_cache(maxsize=8)
def _keys(propagator: TextMapPropagator) -> tuple[str, ...]:
    return (*propagator.fields, *_OUR_KEYS)


def _nanoseconds(carrier: Mapping[str, str], key: str) -> int:
    value = carrier.get(key, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0  # noqa: PLR2004
