"""A client process of the RQ jobs: every way to enqueue."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import redis
import rq
from rq import Queue, Retry
from rq.command import send_stop_job_command
from rq.job import Callback, Job
from rq.serializers import JSONSerializer

from support.apps import rq_jobs
from support.apps.client import flush, serve

connection = redis.Redis.from_url(os.environ["TASKQUEUE_TEST_BROKER"])
queue = Queue(os.environ["TASKQUEUE_TEST_QUEUE"], connection=connection)
json_queue = Queue(queue.name, connection=connection, serializer=JSONSerializer)
Options = Mapping[str, Any]


def _options(given: Options) -> dict[str, Any]:
    """Turn what JSON can say into RQ's own values."""
    options = dict(given)
    if retry := options.pop("retry", None):
        options["retry"] = Retry(**retry)
    if repeat := options.pop("repeat", None):
        options["repeat"] = rq.Repeat(**repeat)  # came with RQ 2.2
    for name in ("on_success", "on_failure", "on_stopped"):
        if callback := options.pop(name, None):
            options[name] = Callback(getattr(rq_jobs, callback))
    return options


def publish(case: str, args: Sequence[Any] = (), how: str = "enqueue", **options: Any) -> str:
    """Enqueue one job; return its id."""
    function = case if how == "by_name" else getattr(rq_jobs, case)
    rq_options = _options(options)
    if how == "enqueue_call":
        return queue.enqueue_call(function, args=tuple(args), **rq_options).id
    if how == "enqueue_in":
        delay = timedelta(seconds=rq_options.pop("delay"))
        return queue.enqueue_in(delay, function, *args, **rq_options).id
    if how == "json":
        return json_queue.enqueue(function, *args, **rq_options).id
    return queue.enqueue(function, *args, **rq_options).id


def publish_many(cases: Sequence[str]) -> list[str]:
    """Enqueue several jobs in one call."""
    jobs = queue.enqueue_many([Queue.prepare_data(getattr(rq_jobs, case)) for case in cases])
    return [job.id for job in jobs]


def publish_dependents(first: str, then: str, first_args: Sequence[Any] = ()) -> list[str]:
    """Enqueue a job and one that waits for it."""
    job = queue.enqueue(getattr(rq_jobs, first), *first_args)
    return [job.id, queue.enqueue(getattr(rq_jobs, then), depends_on=job).id]


def publish_corrupt() -> str:
    """Enqueue a job, then destroy its payload before anybody runs it."""
    job = Job.create(rq_jobs.ok, connection=connection, origin=queue.name)
    queue.enqueue_job(job)
    connection.hset(job.key, "data", b"not a pickle")
    return job.id


def corrupt(job_id: str) -> None:
    """Destroy the payload of a job that waits."""
    connection.hset(Job.key_for(job_id), "data", b"not a pickle")


def run_sync(case: str) -> str:
    """Enqueue on a queue that runs its jobs at once in this process."""
    return Queue(queue.name, connection=connection, is_async=False).enqueue(getattr(rq_jobs, case)).id


def requeue(job_id: str) -> str:
    """Requeue a failed job by hand."""
    job = Job.fetch(job_id, connection=connection)
    job.requeue()
    return job.id


def stop_job(job_id: str) -> None:
    """Send the stop command."""
    send_stop_job_command(connection, job_id)


def state(job_id: str) -> str:
    """The status RQ knows."""
    status = Job.fetch(job_id, connection=connection).get_status()
    return getattr(status, "value", status)  # RQ before 2.0 answers with plain text


def wait_for_state(job_id: str, states: Sequence[str], within: float = 20.0) -> str:
    """Wait until the job has one of ``states``, and return the last one seen."""
    deadline = time.monotonic() + within
    while (seen := state(job_id)) not in states and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen


OPERATIONS = {
    operation.__name__: operation
    for operation in (
        publish,
        publish_many,
        publish_dependents,
        publish_corrupt,
        corrupt,
        run_sync,
        requeue,
        stop_job,
        state,
        wait_for_state,
        flush,
    )
}

if __name__ == "__main__":
    serve(OPERATIONS)
