"""A worker's parent and its child, both in this process, for the tests of core."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_taskqueue.core import attempts
from otel_taskqueue.core.attempts import Attempt
from otel_taskqueue.core.job import Broker, JobView
from otel_taskqueue.core.message import Incoming
from otel_taskqueue.core.relay.channel import Channel
from otel_taskqueue.core.relay.reader import Reader
from otel_taskqueue.core.sdk import providers
from otel_taskqueue.core.telemetry import Telemetry

JOB = JobView("celery", Broker("redis"), "shop.pay", "job-1", "orders")


@dataclass
class Worker:
    """A parent with its reader, and a child's channel into it."""

    provider: TracerProvider
    exporter: InMemorySpanExporter
    reader: Reader
    channel: Channel
    telemetry: Telemetry

    def begin(self) -> tuple[Attempt, object]:
        """An attempt that its child has announced, and the child's span."""
        attempt = self.open()
        span = TracerProvider().get_tracer("child").start_span("process shop.pay")
        self.channel.announce(attempt.serial, span)
        return attempt, span

    def open(self) -> Attempt:
        """An attempt which a process has taken."""
        attempt = attempts.open_attempt(
            self.telemetry, lambda _attempt: Incoming(JOB, {}, judge=lambda _: None)
        )
        attempt.accepted = 1
        return attempt

    def end(self, attempt: Attempt, span: ReadableSpan) -> None:
        """The child ends its span."""
        span.end()
        self.channel.span(0, span)
        self.channel.finished(attempt.serial, span)

    def finished(self) -> list[ReadableSpan]:
        """Stop the reader; everything that was exported."""
        self.reader.stop()
        assert self.reader._all_read.wait(5)
        for processor in providers.processors_of(self.provider) or ():
            assert self.reader.emptied(processor).wait(5)
        return list(self.exporter.get_finished_spans())
