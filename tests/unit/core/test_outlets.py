"""From the relay into processors: process spans first, nothing evicted, one that hangs hurts no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_taskqueue.core.relay import outlets
from otel_taskqueue.core.relay.outlets import BACKLOG, Outlets
from otel_taskqueue.core.sdk import providers


class Blocked(SpanExporter):
    """An exporter that waits until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait, then take them."""
        self.go.wait(10)
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    """Let go at the end, so that no thread stays."""
    exporter = Blocked()
    yield exporter
    exporter.go.set()


def span(name: str) -> ReadableSpan:
    """A finished span."""
    made = TracerProvider(shutdown_on_exit=False).get_tracer("shop").start_span(name)
    made.end()
    return made


def made(*processors: object) -> Outlets:
    """Outlets of one pipeline."""
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return Outlets(providers.pipelines([provider]) or [], ["traces"])


@pytest.mark.parametrize("size", [1, 2, 8, 16, 17, 64])
def test_process_spans_pass_a_queue_of_any_size(blocked: Blocked, size: int) -> None:
    """However small OTEL_BSP_MAX_QUEUE_SIZE is, and the inner spans get through, too."""
    processor = BatchSpanProcessor(
        blocked, max_queue_size=size, max_export_batch_size=1, schedule_delay_millis=10
    )
    found = made(processor)
    blocked.go.set()
    for number in range(50):
        found.add(0, span(f"{number}"), important=number % 2 == 0)
    deadline = time.monotonic() + 10
    while not found.forward() and time.monotonic() < deadline:
        time.sleep(0.005)
    processor.shutdown()
    assert sorted(map(int, blocked.names)) == list(range(50))
    assert not found.take_dropped()


def test_inner_spans_leave_half_of_the_queue_free(blocked: Blocked) -> None:
    """The SDK evicts its oldest item when the queue is full: that must never happen."""
    processor = BatchSpanProcessor(blocked, max_queue_size=100, max_export_batch_size=100)
    found = made(processor)
    for _ in range(200):
        found.add(0, span("inner"), important=False)
    found.forward()
    assert providers.fill(processor) == (50, 100)
    for _ in range(200):
        found.add(0, span("process"), important=True)
    found.forward()
    assert providers.fill(processor) == (84, 100)
    assert found.backlog == 400 - 84
    blocked.go.set()
    processor.shutdown()


def test_a_full_backlog_drops_inner_spans_and_counts_them(blocked: Blocked) -> None:
    """Process spans stay."""
    processor = BatchSpanProcessor(blocked, max_queue_size=2, max_export_batch_size=1)
    found = made(processor)
    made_span = span("x")
    for _ in range(BACKLOG):
        found.add(0, made_span, important=False)
    for _ in range(100):
        found.add(0, made_span, important=True)
    assert found.take_dropped() == {"traces": 100}
    assert found.take_dropped() == {}
    assert len(found._all()[0]._important) == 100
    blocked.go.set()
    processor.shutdown()


def test_a_simple_processor_that_hangs_holds_no_other_up(blocked: Blocked) -> None:
    """It exports in `on_end`: on a thread of its own."""
    healthy = InMemorySpanExporter()
    found = made(SimpleSpanProcessor(blocked), SimpleSpanProcessor(healthy))
    started = time.monotonic()
    for number in range(3):
        found.add(0, span(f"{number}"), important=True)
        found.forward()
    deadline = time.monotonic() + 5
    while len(healthy.get_finished_spans()) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert [s.name for s in healthy.get_finished_spans()] == ["0", "1", "2"]
    assert time.monotonic() - started < 5
    assert found.backlog == 3
    blocked.go.set()


def test_an_outlet_says_when_it_is_empty(blocked: Blocked) -> None:
    """What is being exported counts as not forwarded yet."""
    slow, fast = SimpleSpanProcessor(blocked), SimpleSpanProcessor(InMemorySpanExporter())
    found = made(slow, fast)
    found.add(0, span("x"), important=True)
    found.forward()
    deadline = time.monotonic() + 5
    while found._all()[1].backlog and time.monotonic() < deadline:
        time.sleep(0.005)
    found.finish()
    assert [found.emptied(p).is_set() for p in (slow, fast)] == [False, True]
    assert found.emptied(object()) is None


def test_the_kind_of_outlet_fits_the_processor() -> None:
    """A batching one needs no thread."""
    batching = BatchSpanProcessor(InMemorySpanExporter())
    assert type(outlets.outlet(batching, "traces")) is outlets.Outlet
    direct = outlets.outlet(SimpleSpanProcessor(InMemorySpanExporter()), "traces")
    assert type(direct) is outlets.DirectOutlet
    batching.shutdown()
