"""A Celery application that measures, also in the worker's parent before any child is there."""

from __future__ import annotations

from celery import Task, current_task
from opentelemetry import metrics

from support.apps import measures
from support.apps.celery_app import app

__all__ = ["app"]

measures.job_id = lambda: current_task.request.id
metrics.get_meter("parent").create_counter("shop.inherited").add(5)
for function in (measures.flush, measures.record_for, measures.record_and_die, measures.record_everywhere):
    app.task(name=f"measures.{function.__name__}")(function)


@app.task(name="measures.record", bind=True)
def record(self: Task, number: int = 0) -> None:
    """Measure once with each kind of instrument."""
    measures.record(number)


@app.task(name="measures.publish", bind=True)
def publish(self: Task) -> None:
    """Enqueue another job."""
    app.send_task("measures.record", queue=self.request.delivery_info["routing_key"])
