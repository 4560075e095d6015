"""Frames: whatever a span or a log record holds comes out of its tuple as it went in."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.span import TraceFlags, TraceState

from otel_taskqueue.core.relay import frames
from otel_taskqueue.core.relay.log_frames import pack_log, unpack_log

PARENT = Resource({"service.name": "parent"})
REMOTE = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "1")]))


class Colour(str, enum.Enum):
    """A str that is not exactly one: marshal refuses it."""

    RED = "red"


def span(**limits: int) -> ReadableSpan:
    """A span with something in every place."""
    provider = TracerProvider(span_limits=SpanLimits(**limits), resource=Resource({"service.name": "child"}))
    tracer = provider.get_tracer("shop", "1.2", "https://example.com/schema", {"team": "orders"})
    made = tracer.start_span(
        "work",
        trace.set_span_in_context(NonRecordingSpan(REMOTE), Context()),
        kind=SpanKind.CONSUMER,
        attributes={"one": 1, "two": 2.5, "yes": True, "list": ["a", "b"], "colour": Colour.RED},
        links=[Link(REMOTE, {"why": "because"})],
        start_time=1000,
    )
    made.add_event("seen", {"n": 1}, timestamp=1500)
    made.add_event("again", {"n": 2}, timestamp=1600)
    made.set_status(Status(StatusCode.ERROR, "broken"))
    made.end(2000)
    return made


def through(made: ReadableSpan) -> ReadableSpan:
    """What the parent sees of a child's span."""
    return frames.unpack_span(frames.load(frames.dump(frames.pack_span(made))), PARENT)


def test_a_span_comes_out_as_it_went_in() -> None:
    """All but its resource: that is the parent's."""
    before, after = span(), through(span())
    seen = [{**(s.attributes or {})} for s in (before, after)]
    assert seen[0] == seen[1]
    for name in ("name", "kind", "start_time", "end_time", "parent"):
        assert getattr(after, name) == getattr(before, name)
    assert after.parent is not None
    assert after.parent.trace_state == REMOTE.trace_state
    assert (after.status.status_code, after.status.description) == (StatusCode.ERROR, "broken")
    assert [(e.name, e.timestamp, dict(e.attributes or {})) for e in after.events] == [
        ("seen", 1500, {"n": 1}),
        ("again", 1600, {"n": 2}),
    ]
    assert [(li.context, dict(li.attributes or {})) for li in after.links] == [(REMOTE, {"why": "because"})]
    assert after.instrumentation_scope == before.instrumentation_scope
    assert after.resource is PARENT


def test_what_the_sdk_dropped_stays_counted() -> None:
    """Limits of the child's SDK show in the parent's export."""
    limits = {"max_span_attributes": 2, "max_events": 1, "max_attributes": 2}
    before = span(**limits)
    after = through(before)
    assert (before.dropped_attributes, before.dropped_events) == (3, 1)
    assert (after.dropped_attributes, after.dropped_events) == (3, 1)


def test_equal_scopes_are_one_object() -> None:
    """The encoder groups spans by it."""
    packed = ("shop", "1", "", {})
    assert frames.unpack_scope(packed) is frames.unpack_scope(("shop", "1", "", {}))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (np.float64(2.5), 2.5),
        (bytearray(b"x"), b"x"),
        ([Colour.RED, [np.float64(1)]], ("red", (1.0,))),
        (MappingProxyType({"a": Colour.RED}), {"a": "red"}),
        (None, None),
        (2**80, 2**80),
        ("\ud800", "\ud800"),
    ],
)
def test_values_become_exact_builtins(value: Any, plain: Any) -> None:
    """marshal refuses a str enum, and turns numpy.float64 into bytes without a word."""
    found = frames.plain(value)
    assert found == plain
    assert type(found) is type(plain)
    assert frames.load(frames.dump((found,))) == (plain,)


def test_a_log_record_comes_out_as_it_went_in() -> None:
    """With the span it belongs to, whatever context the parent is in."""
    context = trace.set_span_in_context(NonRecordingSpan(REMOTE), Context())
    record = LogRecord(
        timestamp=1,
        observed_timestamp=2,
        context=context,
        severity_text="WARN",
        severity_number=SeverityNumber.WARN,
        body={"text": Colour.RED},
        attributes={"n": 1},
        event_name="thing.happened",
    )
    emitted = ReadWriteLogRecord(record, Resource({}), frames.unpack_scope(("shop", "1", "", {})))
    after = unpack_log(frames.load(frames.dump(pack_log(emitted))), PARENT)
    seen = after.log_record
    assert (seen.trace_id, seen.span_id, seen.trace_flags) == (7, 8, 1)
    assert (seen.timestamp, seen.observed_timestamp, seen.event_name) == (1, 2, "thing.happened")
    assert (seen.severity_text, seen.severity_number) == ("WARN", SeverityNumber.WARN)
    assert seen.body == {"text": "red"}
    assert dict(seen.attributes or {}) == {"n": 1}
    assert after.resource is PARENT


def test_a_log_record_outside_of_any_span_stays_outside() -> None:
    """Rebuilt while the parent has a span of its own."""
    emitted = ReadWriteLogRecord(LogRecord(body="x", context=Context()), Resource({}), None)
    with trace.use_span(NonRecordingSpan(REMOTE)):
        after = unpack_log(frames.load(frames.dump(pack_log(emitted))), PARENT)
    assert (after.log_record.trace_id, after.log_record.span_id) == (0, 0)
