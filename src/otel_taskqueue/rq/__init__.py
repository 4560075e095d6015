"""The RQ room: publish, run, watch, boot. Importing it imports nothing of RQ."""

from __future__ import annotations

from otel_taskqueue.rq.instrumentor import RQInstrumentor

__all__ = ["RQInstrumentor"]
