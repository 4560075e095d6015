"""The application set up as OpenTelemetry's documentation tells: in `worker_process_init` only."""

from __future__ import annotations

from typing import Any

from celery.signals import worker_process_init

from support.apps.celery_app import app

__all__ = ["app"]


@worker_process_init.connect(weak=False)
def set_up(**_: Any) -> None:
    """SDK and instrumentation come to life in the child."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from otel_taskqueue.celery import CeleryInstrumentor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()
