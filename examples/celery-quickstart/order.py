"""Enqueue one task, as a web request would; the span around it stands for the request's own."""

from __future__ import annotations

from opentelemetry import trace
from tasks import charge

if __name__ == "__main__":
    with trace.get_tracer(__name__).start_as_current_span("POST /orders"):
        print("enqueued", charge.delay(1042).id)
