"""The SDK as an application sets it up, with exporters that do nothing or speak OTLP/HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

#: Nothing is exported by time (ms): what a loop made is exported when it is full, and at its end.
_NEVER = 3_600_000


class Counting(SpanExporter):
    """Counts the spans that reach it, and hands them to another exporter or to nobody."""

    def __init__(self, inner: SpanExporter | None) -> None:
        self.seen = 0
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Count."""
        self.seen += len(spans)
        return self._inner.export(spans) if self._inner is not None else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """End the other one."""
        if self._inner is not None:
            self._inner.shutdown()


class Nowhere(MetricExporter):
    """Metrics are collected, and nothing is done with them."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: object) -> MetricExportResult:
        """Do nothing."""
        del metrics_data, timeout_millis
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        """Nothing waits."""
        del timeout_millis
        return True

    def shutdown(self, timeout_millis: float = 0, **_: object) -> None:
        """Nothing to end."""


class Pipeline:
    """Providers in force in this process; ``endpoint``: a receiver, else exporters do nothing."""

    def __init__(self, *, sampled: bool, with_metrics: bool, endpoint: str | None) -> None:
        self.exporter = Counting(OTLPSpanExporter(f"{endpoint}/v1/traces") if endpoint else None)
        processor = BatchSpanProcessor(self.exporter, max_queue_size=65536, schedule_delay_millis=_NEVER)
        tracer_provider = TracerProvider(sampler=ParentBased(ALWAYS_ON if sampled else ALWAYS_OFF))
        tracer_provider.add_span_processor(processor)
        trace.set_tracer_provider(tracer_provider)
        self._flush: list[Callable[[], object]] = [tracer_provider.force_flush]
        if with_metrics:
            exporter = OTLPMetricExporter(f"{endpoint}/v1/metrics") if endpoint else Nowhere()
            meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter, _NEVER)])
            metrics.set_meter_provider(meter_provider)
            self._flush.append(meter_provider.force_flush)

    def flush(self) -> int:
        """Export what is there; the number of spans exported so far."""
        for flush in self._flush:
            flush()
        return self.exporter.seen
