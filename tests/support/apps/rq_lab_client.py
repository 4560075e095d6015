"""A client process of the laboratory: every way to enqueue, and hands on RQ's bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import redis
import rq
from opentelemetry.instrumentation.utils import suppress_instrumentation
from rq import Queue
from rq.decorators import job as rq_job
from rq.job import Dependency, Job
from rq.registry import StartedJobRegistry
from rq.worker import SimpleWorker

from support.apps import rq_client, rq_jobs, rq_lab
from support.apps.client import serve

queue, connection = rq_client.queue, rq_client.connection
FAR_AWAY = 1  # nobody listens on this port
Options = Mapping[str, Any]


def function(case: str) -> Any:
    """The function of a case, from either module."""
    return getattr(rq_lab, case, None) or getattr(rq_jobs, case)


def enqueue(case: str, args: Sequence[Any] = (), **options: Any) -> str:
    """Enqueue one job of the laboratory."""
    return queue.enqueue(function(case), *args, **rq_client._options(options)).id


def enqueue_callback(case: str, callback: str) -> str:
    """Enqueue a job with one of the laboratory's success callbacks."""
    return queue.enqueue(function(case), on_success=rq_client.Callback(function(callback))).id


def enqueue_decorated() -> dict[str, Any]:
    """Call ``.delay`` of a job whose meta all calls share; tell what became of it."""
    decorator = rq_job(queue, connection=connection, meta=rq_lab.SHARED_META)
    job = decorator(rq_jobs.ok).delay()
    return {"id": job.id, "meta": rq_lab.SHARED_META, "carried": sorted(job.meta)}


def enqueue_with_meta() -> dict[str, Any]:
    """Enqueue two jobs with one dict, and tell what became of the dict."""
    meta = {"team": "shop"}
    ids = [queue.enqueue(rq_jobs.ok, meta=meta).id for _ in range(2)]
    return {"ids": ids, "meta": meta}


def enqueue_method() -> str:
    """A bound method is a job too."""
    return queue.enqueue(rq_lab.Order(7).ship).id


def enqueue_at(case: str, delay: float) -> dict[str, Any]:
    """Enqueue for a moment."""
    when = datetime.now(timezone.utc) + timedelta(seconds=delay)
    return {"id": queue.enqueue_at(when, function(case)).id, "when": when.isoformat()}


def enqueue_many(cases: Sequence[str], *, lazily: bool = False) -> list[str]:
    """Enqueue several jobs in one call."""
    datas: Any = [Queue.prepare_data(function(case)) for case in cases]
    return [job.id for job in queue.enqueue_many((d for d in datas) if lazily else datas)]


def enqueue_group(cases: Sequence[str]) -> dict[str, Any]:
    """Enqueue several jobs as a group."""
    from rq.group import Group

    group = Group.create(connection=connection)
    jobs = group.enqueue_many(queue, [Queue.prepare_data(function(case)) for case in cases])
    return {"ids": [job.id for job in jobs], "group": group.name}


def enqueue_many_waiting(first: str, seconds: float) -> list[str]:
    """`enqueue_many` of a job that waits for another one; the other one comes first."""
    other = queue.enqueue(function(first), seconds)
    datas = [Queue.prepare_data(rq_jobs.ok, depends_on=other)]
    return [other.id, queue.enqueue_many(datas)[0].id]


def enqueue_after(job_id: str, case: str, *, allow_failure: bool = False) -> str:
    """Enqueue a job that depends on a job which is there already."""
    dependency = Dependency(jobs=[job_id], allow_failure=allow_failure)
    return queue.enqueue(function(case), depends_on=dependency).id


def enqueue_unique(job_id: str) -> str:
    """Enqueue unless the id is taken."""
    return queue.enqueue(rq_jobs.ok, job_id=job_id, unique=True).id


def enqueue_repeated(times: int) -> str:
    """Enqueue a job that repeats itself."""
    return queue.enqueue(rq_jobs.ok, repeat=rq.Repeat(times=times)).id


def enqueue_by_cron(case: str) -> str:
    """What `rq cron` does once."""
    from rq.cron import CronScheduler

    scheduler = CronScheduler(connection=connection)
    scheduler.register(function(case), queue_name=queue.name, interval=60)
    return scheduler.get_jobs()[0].enqueue(connection).id


def enqueue_suppressed(case: str) -> str:
    """Enqueue inside `suppress_instrumentation()`."""
    with suppress_instrumentation():
        return queue.enqueue(function(case)).id


def enqueue_with_foreign_carrier(traceparent: str) -> str:
    """A job as otel-rq enqueues it."""
    with suppress_instrumentation():
        return queue.enqueue(rq_jobs.ok, meta={"traceparent": traceparent}).id


def enqueue_far_away(how: str) -> None:
    """Enqueue where no Redis is."""
    far = Queue("far", connection=redis.Redis(port=FAR_AWAY, retry=None))
    if how == "enqueue_in":
        far.enqueue_in(timedelta(seconds=1), rq_jobs.ok)
    elif how == "enqueue_many":
        far.enqueue_many([Queue.prepare_data(rq_jobs.ok)])
    else:
        far.enqueue(rq_jobs.ok)


def enqueue_unserialisable(*, as_json: bool = False) -> None:
    """Enqueue what no serializer takes."""
    (rq_client.json_queue if as_json else queue).enqueue(rq_jobs.ok, lambda: None)


def run_sync(case: str, **callbacks: str) -> str:
    """Enqueue on a queue that runs its jobs at once in this process."""
    here = Queue(queue.name, connection=connection, is_async=False)
    given = {name: rq_client.Callback(function(callback)) for name, callback in callbacks.items()}
    job = here.enqueue(function(case), **given)
    for name, callback in callbacks.items():  # what a caller finds is still its own
        found = job.success_callback if name == "on_success" else job.failure_callback
        assert found is function(callback)
    return job.id


def enqueue_again_without_us(job_id: str) -> None:
    """What a scheduler does that knows nothing of us."""
    with suppress_instrumentation():
        Job.fetch(job_id, connection=connection).requeue()


def forget_worker(name: str, job_id: str) -> None:
    """The worker is dead, and time has passed: its name is free, its job overdue."""
    connection.delete(f"rq:worker:{name}")
    connection.delete(f"rq:clean_registries:{queue.name}")
    registry = StartedJobRegistry(queue.name, connection=connection)
    for member in connection.zrange(registry.key, 0, -1):
        if member.decode().startswith(job_id):
            connection.zadd(registry.key, {member: 1})


def lose_between_queue_and_worker(job_id: str) -> None:
    """A worker has taken the job a while ago, and died before it said so."""
    between = f"{queue.key}:intermediate"
    connection.lrem(queue.key, 1, job_id)
    connection.lpush(between, job_id)
    connection.set(f"{between}:first_seen:{job_id}", time.time() - 120)


def maintain() -> None:
    """What every worker does now and then, here in a process of its own name."""
    connection.delete(f"rq:clean_registries:{queue.name}")
    SimpleWorker([queue], connection=connection, name="maintenance").clean_registries()


OPERATIONS = {
    **rq_client.OPERATIONS,
    **{
        operation.__name__: operation
        for operation in (
            enqueue,
            enqueue_callback,
            enqueue_decorated,
            enqueue_with_meta,
            enqueue_method,
            enqueue_at,
            enqueue_many,
            enqueue_group,
            enqueue_many_waiting,
            enqueue_after,
            enqueue_unique,
            enqueue_repeated,
            enqueue_by_cron,
            enqueue_suppressed,
            enqueue_with_foreign_carrier,
            enqueue_far_away,
            enqueue_unserialisable,
            run_sync,
            enqueue_again_without_us,
            forget_worker,
            lose_between_queue_and_worker,
            maintain,
        )
    },
}

if __name__ == "__main__":
    serve(OPERATIONS)
