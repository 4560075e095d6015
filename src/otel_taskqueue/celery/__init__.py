"""The Celery room: publish, run, watch, boot. Importing it imports nothing of Celery."""

from __future__ import annotations

from otel_taskqueue.celery.instrumentor import CeleryInstrumentor

__all__ = ["CeleryInstrumentor"]
