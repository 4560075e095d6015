"""Frames that are too large are cut and marked; what we say about the job is kept."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, SpanContext, TraceFlags

from otel_taskqueue import semconv
from otel_taskqueue.core.relay import cut, frames
from otel_taskqueue.core.relay.lanes import LONGEST_FRAME

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"


def dumped(attributes: int, events: int, links: int, text: int) -> tuple[int, object]:
    """The length of the frame of such a span, and the span in it."""
    tracer = TracerProvider().get_tracer("a_rather_long_scope_name_of_the_application", "1.0", SCHEMA)
    context = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    filling = {f"filling.{n}": "x" * text for n in range(attributes)}
    span = tracer.start_span("name " * 20, links=[Link(context, filling)] * links)
    span.set_attributes(filling)
    span.set_attributes({semconv.MESSAGING_MESSAGE_ID: "the-job", semconv.TASK_OUTCOME: "failure"})
    for number in range(events):
        # marshal writes an object only once: equal texts must not be the same one.
        span.add_event(f"event {number}", {key: f"{number} {value}" for key, value in filling.items()})
    span.end()
    data = cut.dump_span(span)
    return len(data), frames.unpack_span(frames.load(data), Resource({}))


@pytest.mark.parametrize(
    ("attributes", "events", "links", "text"),
    [(1, 0, 0, 200_000), (120, 0, 0, 5_000), (120, 120, 0, 500), (120, 120, 120, 200), (1, 120, 0, 9_000)],
)
def test_every_shape_of_too_much_fits(attributes: int, events: int, links: int, text: int) -> None:
    """One huge value, many values, many events, many links."""
    length, span = dumped(attributes, events, links, text)
    assert length <= LONGEST_FRAME
    assert span.attributes[semconv.TELEMETRY_CUT] is True
    assert span.attributes[semconv.MESSAGING_MESSAGE_ID] == "the-job"
    assert span.attributes[semconv.TASK_OUTCOME] == "failure"
    scope = span.instrumentation_scope
    assert (scope.name, scope.schema_url) == ("a_rather_long_scope_name_of_the_application", SCHEMA)


def test_the_newest_events_are_kept() -> None:
    """They tell how it ended."""
    _, span = dumped(4, 120, 0, 2_000)
    assert span.events
    assert span.events[-1].name == "event 119"
    assert len(span.events) + span.dropped_events == 120


def test_what_fits_is_not_touched() -> None:
    """Not even marked."""
    _, span = dumped(10, 1, 1, 50)
    assert semconv.TELEMETRY_CUT not in span.attributes
    assert len(span.attributes) == 12
