"""OpenTelemetry for Celery and RQ: one trace from the enqueue call to the last attempt."""

from __future__ import annotations

from otel_taskqueue.version import __version__

__all__ = ["__version__"]
