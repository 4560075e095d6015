"""An application that sets up SDK and instrumentation by hand, with providers that are not global."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import otel_taskqueue

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def on_publish(span: Any, job: Any) -> None:
    """Mark the span; fail for one kind of job, and for spans that were marked before."""
    assert "hooked" not in span.attributes
    span.set_attribute("hooked", f"publish {job.task} {job.queue}")
    raise LookupError("a mistake of the hook")


def on_process(span: Any, job: Any) -> None:
    """Mark the span with what the job is known by."""
    span.set_attribute("hooked", f"process {job.task} {job.id} {job.attempt} {job.worker}")
    if job.task.endswith(".fail"):
        raise SystemError("another mistake of a hook")


for _ in range(2):  # twice is harmless
    otel_taskqueue.instrument(
        tracer_provider=provider,
        publish_hook=on_publish,
        process_hook=on_process,
        baggage_keys=["tenant"],
        span_naming="queue or so",  # not a value: one warning, and the default
    )

logging.getLogger("otel_taskqueue").addHandler(logging.StreamHandler())

from support.apps.celery_lab import *  # noqa: E402, F403
from support.apps.celery_lab import app  # noqa: E402

__all__ = ["app"]
