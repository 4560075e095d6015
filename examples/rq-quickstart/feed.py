"""Enqueue one job, as a web request would; the span around it stands for the request's own."""

from __future__ import annotations

from jobs import fetch_feed, queue
from opentelemetry import trace
from rq import Retry

if __name__ == "__main__":
    with trace.get_tracer(__name__).start_as_current_span("POST /imports"):
        print("enqueued", queue.enqueue(fetch_feed, "Acme", retry=Retry(max=3)).id)
