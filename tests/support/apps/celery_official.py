"""An application that instruments by hand with the official package, before ours and again in each child."""

from __future__ import annotations

from typing import Any

from celery.signals import worker_process_init
from opentelemetry.instrumentation.celery import CeleryInstrumentor as Official

import otel_taskqueue
from support.apps.celery_lab import app

__all__ = ["app"]

otel_taskqueue.uninstrument()
Official().instrument()
otel_taskqueue.instrument()


@worker_process_init.connect(weak=False)
def in_the_child(**_: Any) -> None:
    """As the official documentation tells."""
    Official().instrument()
