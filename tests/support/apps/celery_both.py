"""An application which instruments by hand with the official package, as many do."""

from __future__ import annotations

from typing import Any

from celery.signals import worker_process_init
from opentelemetry.instrumentation.celery import CeleryInstrumentor as OfficialInstrumentor

from support.apps.celery_app import app

__all__ = ["app"]


@worker_process_init.connect(weak=False)
def set_up(**_: Any) -> None:
    """What the official package's documentation tells."""
    OfficialInstrumentor().instrument()
