"""A client that enqueues a whole plan in one call, and hands on RQ's bookkeeping."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import redis
from opentelemetry import metrics
from rq import Queue, Retry
from rq.job import Callback, Job
from rq.registry import StartedJobRegistry

from support.apps import truth_rq
from support.apps.client import serve

connection = redis.Redis.from_url(os.environ["TASKQUEUE_TEST_BROKER"])
queue = Queue(os.environ["TASKQUEUE_TEST_QUEUE"], connection=connection)
CORRUPT = "corrupt"
FAR_AWAY = 1  # nobody listens on this port


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(given)
    if "retry" in options:
        options["retry"] = Retry(**options["retry"])
    if "on_success" in options:
        options["on_success"] = Callback(getattr(truth_rq, options["on_success"]))
    return options


def _enqueue(task: str, args: Sequence[Any], options: Mapping[str, Any]) -> str:
    if task == CORRUPT:
        job = Job.create(truth_rq.succeed, connection=connection, origin=queue.name)
        job.data = b"not a pickle"
        queue.enqueue_job(job)
        return job.id
    function = task if "." in task else getattr(truth_rq, task)
    return queue.enqueue(function, *args, **_options(options)).id


def enqueue(plan: Sequence[Sequence[Any]]) -> list[str]:
    """Enqueue each line of the plan (task, count, arguments, options) so often; the ids in order."""
    return [_enqueue(task, args, options) for task, count, args, options in plan for _number in range(count)]


def enqueue_in(seconds: float, task: str) -> str:
    """Enqueue for later."""
    return queue.enqueue_in(timedelta(seconds=seconds), getattr(truth_rq, task)).id


def enqueue_far_away() -> None:
    """Enqueue where no Redis is."""
    Queue(queue.name, connection=redis.Redis(port=FAR_AWAY, retry=None)).enqueue(truth_rq.succeed)


def status(job_id: str) -> str:
    """The status RQ knows."""
    found = Job.fetch(job_id, connection=connection).get_status()
    return str(getattr(found, "value", found))


def forget_worker(name: str, job_id: str) -> None:
    """The worker is dead, and time has passed: its name is free, its job overdue."""
    connection.delete(f"rq:worker:{name}", f"rq:clean_registries:{queue.name}")
    registry = StartedJobRegistry(queue.name, connection=connection)
    for member in connection.zrange(registry.key, 0, -1):
        if member.decode().startswith(job_id):
            connection.zadd(registry.key, {member: 1})


def flush_metrics() -> None:
    """Export what this process has measured."""
    metrics.get_meter_provider().force_flush()


if __name__ == "__main__":
    serve(
        {
            function.__name__: function
            for function in (
                enqueue,
                enqueue_in,
                enqueue_far_away,
                status,
                forget_worker,
                flush_metrics,
            )
        }
    )
