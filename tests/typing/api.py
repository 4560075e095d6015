"""What users write, checked by the type checker alone: nobody runs this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import otel_taskqueue
from otel_taskqueue.celery import CeleryInstrumentor
from otel_taskqueue.rq import RQInstrumentor

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

    from otel_taskqueue.core.job import JobView


def hook(span: Span, job: JobView) -> None:
    """A hook sees the span and a read-only view of the job."""
    span.set_attribute("shop.job", job.id)


def by_hand(tracer_provider: TracerProvider) -> None:
    """The doors, with providers, settings and hooks."""
    version: str = otel_taskqueue.__version__
    otel_taskqueue.instrument(publish_hook=hook, trace_style="link")
    otel_taskqueue.uninstrument()
    CeleryInstrumentor().instrument(tracer_provider=tracer_provider, process_hook=hook)
    RQInstrumentor().instrument(settings=otel_taskqueue.Settings.load(), shop=version)
