"""The SDK's providers: found, replaced in a child, ended within a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_taskqueue.core import delivery, telemetry
from otel_taskqueue.core.relay import channel, frames, lanes
from otel_taskqueue.core.sdk import child, providers
from otel_taskqueue.core.sdk import exit as end
from support.apps.delivery_sdk import RenamedHolder


class Own(SpanProcessor):
    """An application's own; ``hang`` makes its end hang."""

    def __init__(self, hang: threading.Event | None = None) -> None:
        self.hang = hang
        self.ended: list[str] = []
        self.is_shut = False

    def on_end(self, span: ReadableSpan) -> None:
        """Change the span."""
        self.ended.append(span.name)
        span._attributes = {"mine": True}

    def shutdown(self) -> None:
        """Hang or end."""
        if self.hang is not None:
            self.hang.wait(30)
        self.is_shut = True


class OwnBatch(BatchSpanProcessor):
    """A subclass."""


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[lanes.Lanes]:
    """Lanes of which the child's end is open."""
    made = lanes.make()
    monkeypatch.setattr(channel, "_open", channel.Channel(made))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this process is taken over or finished yet, and nobody has waited in vain."""
    monkeypatch.setattr(end, "_taken", [])
    monkeypatch.setattr(end, "_finished", set())
    monkeypatch.setattr(end, "_waits", end.Waits())


def provider(*processors: SpanProcessor) -> TracerProvider:
    """A provider with these."""
    made = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        made.add_span_processor(processor)
    return made


def test_only_the_sdk_s_own_processors_are_replaced(pair: lanes.Lanes) -> None:
    """A subclass stays, an own one stays, and the relay packs after them."""
    batch, simple = (
        BatchSpanProcessor(InMemorySpanExporter()),
        SimpleSpanProcessor(InMemorySpanExporter()),
    )
    mine, subclass = Own(), OwnBatch(InMemorySpanExporter())
    made = provider(batch, mine, simple, subclass)
    (pipeline,) = providers.pipelines([made]) or []
    assert (pipeline.exact, pipeline.own) == ((batch, simple), (mine, subclass))
    child.relay([pipeline])
    kinds = [type(processor) for processor in providers.processors_of(made) or ()]
    assert kinds == [Own, OwnBatch, child.RelaySpanProcessor]
    late = Own()
    made.add_span_processor(late)
    child.relay_last([pipeline])
    kinds = [type(processor) for processor in providers.processors_of(made) or ()]
    assert kinds == [Own, OwnBatch, Own, child.RelaySpanProcessor]
    made.get_tracer("shop").start_span("x").end()
    _, _, body = frames.load(pair.data.read.recv(65536))
    assert frames.load(body)[frames.ATTRIBUTES] == {"mine": True}
    assert (mine.ended, late.ended) == (["x"], ["x"])
    for processor in (batch, subclass):
        processor.shutdown()


def test_hidden_processors_are_no_relay_but_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK no longer shows them: `why_not` says so in words."""
    hidden = TracerProvider(active_span_processor=RenamedHolder(), shutdown_on_exit=False)
    assert providers.pipelines([hidden]) is None
    made = telemetry.make(tracer_provider=hidden)
    assert "hides" in str(delivery.why_not(made))
    monkeypatch.setattr(delivery, "_reader", None)
    assert delivery.prepare(made) is False
    assert delivery.why_not(telemetry.make(tracer_provider=provider())) is None


def test_the_relay_can_be_switched_off() -> None:
    """By its setting."""
    off = telemetry.make(tracer_provider=provider(), relay=False)
    assert "OTEL_PYTHON_TASKQUEUE_RELAY" in str(delivery.why_not(off))


def test_an_end_is_bounded_and_each_processor_ends_by_itself() -> None:
    """One hangs for thirty seconds: the others end, and we leave after one."""
    hang = threading.Event()
    first, stuck, last = Own(), Own(hang), Own()
    made = provider(first, stuck, last)
    end._taken.append(made)
    started = time.monotonic()
    end.finish(telemetry.make(tracer_provider=made))
    assert time.monotonic() - started < 1.5
    assert (first.is_shut, stuck.is_shut, last.is_shut) == (True, False, True)
    hang.set()


def test_an_end_goes_on_while_there_is_progress() -> None:
    """A slow collector: longer than the second, as long as something moves."""

    class Slow(InMemorySpanExporter):
        def export(self, spans):  # noqa: ANN001, ANN202
            time.sleep(0.3)
            return super().export(spans)

    exporter = Slow()
    made = provider(BatchSpanProcessor(exporter, max_export_batch_size=10))
    end._taken.append(made)
    for _ in range(60):
        made.get_tracer("shop").start_span("x").end()
    end.finish(telemetry.make(tracer_provider=made))
    assert len(exporter.get_finished_spans()) == 60


def test_an_end_happens_once() -> None:
    """Before SIGHUP's restart and again at the interpreter's exit."""
    mine = Own()
    made = provider(mine)
    end._taken.append(made)
    end.finish(telemetry.make(tracer_provider=made))
    mine.is_shut = False
    end.finish(telemetry.make(tracer_provider=made))
    assert mine.is_shut is False
