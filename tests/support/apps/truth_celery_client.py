"""A client that enqueues a whole plan in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery.utils import uuid
from opentelemetry import metrics

from support.apps.client import serve
from support.apps.truth_celery import app

NAMES = "support.apps.truth_celery."


def enqueue(plan: Sequence[Sequence[Any]]) -> list[str]:
    """Enqueue each line of the plan (task, count, arguments, options) so often; the ids in order."""
    ids: list[str] = []
    for task, count, args, options in plan:
        name = task if "." in task else NAMES + task
        ids += [app.send_task(name, args, **options).id for _ in range(count)]
    return ids


def enqueue_garbage(count: int) -> None:
    """Publish what is no message of Celery, and what cannot be decoded."""
    with app.producer_pool.acquire() as producer:
        for _ in range(count):
            producer.publish(
                b"{no json",
                content_type="application/json",
                content_encoding="utf-8",
                routing_key=app.conf.task_default_queue,
            )


def enqueue_revoked(count: int, destination: str) -> list[str]:
    """Revoke ids, and enqueue jobs with them when the worker knows of it."""
    ids = [uuid() for _ in range(count)]
    found = app.control.revoke(ids, destination=[destination], reply=True, timeout=60, limit=1)
    assert found, "the worker does not answer"
    return [app.send_task(f"{NAMES}succeed", task_id=one).id for one in ids]


def control(name: str, destination: str, **arguments: Any) -> Any:
    """Give a worker a command."""
    return app.control.broadcast(
        name, arguments=arguments, destination=[destination], reply=True, timeout=10, limit=1
    )


def shut_down(destination: str) -> None:
    """Ask a worker to stop; it does not answer."""
    app.control.shutdown(destination=[destination])


def enqueue_to(url: str) -> str:
    """Enqueue to another broker, without Celery's patience of several seconds."""
    with app.connection_for_write(url) as connection:
        return app.send_task(NAMES + "succeed", connection=connection, retry=False).id


def break_connections() -> None:
    """Cut every connection of the broker but this client's."""
    with app.connection_for_write() as connection:
        client = connection.default_channel.client
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def flush_metrics() -> None:
    """Export what this process has measured."""
    metrics.get_meter_provider().force_flush()


if __name__ == "__main__":
    serve(
        {
            function.__name__: function
            for function in (
                enqueue,
                enqueue_garbage,
                enqueue_revoked,
                control,
                shut_down,
                enqueue_to,
                break_connections,
                flush_metrics,
            )
        }
    )
