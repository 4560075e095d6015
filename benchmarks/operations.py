"""What is measured: one enqueue call, one attempt. Each operation gives `prepare(n)` and `run(n)`.

A module of its own process: the instrumentation is chosen once and is never taken off again.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.floor import Floor

RQ_JOB = "benchmarks.jobs.noop"


class Operation(NamedTuple):
    """``prepare`` what `run` will use up; ``spans`` of one operation when it is instrumented."""

    run: Callable[[int], None]
    prepare: Callable[[int], None] = lambda _n: None


def instrument(library: str, subject: str) -> None:
    """Set up ours or the official one; bare and floor need nothing."""
    if subject == "official":
        from opentelemetry.instrumentation.celery import CeleryInstrumentor as Official

        Official().instrument()
    elif subject == "ours" and library == "celery":
        from otel_taskqueue.celery import CeleryInstrumentor

        CeleryInstrumentor().instrument()
    elif subject == "ours":
        from otel_taskqueue.rq import RQInstrumentor

        RQInstrumentor().instrument()


def preload() -> None:
    """Import the libraries, and no instrumentation."""
    for name in ("celery.app.trace", "celery.app.amqp", "kombu.transport.memory", "redis", "rq", "rq.worker"):
        importlib.import_module(name)


def celery_execute(subject: str, _redis: str, *, sampled: bool, failing: bool = False) -> Operation:
    """One attempt of a task that does nothing, as a worker's process runs it."""
    instrument("celery", subject)
    from celery.app.trace import build_tracer

    logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL + 1)
    app, noop = _celery_app(failing=failing)
    run = build_tracer(noop.name, noop, app.loader, "worker@host", app=app)
    if subject == "floor":
        run = _celery_floor(noop.name, run)

    def loop(count: int) -> None:
        for number in range(count):
            job = f"{number:08x}-0000-4000-8000-000000000000"
            run(job, (), {}, _request(noop.name, job, number, sampled=sampled))

    return Operation(loop)


def celery_fail(subject: str, redis: str, *, sampled: bool) -> Operation:
    """One attempt of a task that raises."""
    return celery_execute(subject, redis, sampled=sampled, failing=True)


def celery_enqueue(subject: str, _redis: str, *, sampled: bool) -> Operation:
    """One `apply_async` into a broker in memory."""
    del sampled  # the sampler decides
    instrument("celery", subject)
    _, noop = _celery_app(failing=False)
    floor = Floor("celery", "memory")

    def by_floor(count: int) -> None:
        for _ in range(count):
            floor.publish(noop.name, "celery", lambda carrier: noop.apply_async(headers=carrier))

    def loop(count: int) -> None:
        for _ in range(count):
            noop.apply_async()

    return Operation(by_floor if subject == "floor" else loop)


def rq_enqueue(subject: str, redis: str, *, sampled: bool) -> Operation:
    """One `Queue.enqueue` into a real Redis."""
    del sampled
    instrument("rq", subject)
    return Operation(_rq_sender(subject, redis))


def rq_simple(subject: str, redis: str, *, sampled: bool) -> Operation:
    """One job in a SimpleWorker, jobs enqueued by the same subject."""
    del sampled
    instrument("rq", subject)
    from redis import Redis
    from rq import Queue, SimpleWorker
    from rq.logutils import setup_loghandlers

    setup_loghandlers("ERROR")
    kind = _rq_floor_worker() if subject == "floor" else SimpleWorker
    connection = Redis.from_url(redis)
    worker = kind([Queue(connection=connection)], connection=connection)
    return Operation(
        lambda count: _work(worker, count),
        _rq_sender(subject, redis),
    )


OPERATIONS: dict[str, Callable[..., Operation]] = {
    "celery-execute": celery_execute,
    "celery-fail": celery_fail,
    "celery-enqueue": celery_enqueue,
    "rq-enqueue": rq_enqueue,
    "rq-simple": rq_simple,
}


def _celery_app(*, failing: bool) -> tuple[Any, Any]:
    from celery import Celery

    app = Celery("benchmarks", broker="memory://")
    app.conf.task_ignore_result = True

    @app.task(name="shop.noop")
    def noop() -> None:
        if failing:
            raise ValueError("no such order")

    app.finalize()
    return app, noop


def _request(task: str, job: str, number: int, *, sampled: bool) -> dict[str, Any]:
    """What the worker hands to the tracer, beside the headers of whoever sent it."""
    return {
        "id": job,
        "root_id": job,
        "task": task,
        "retries": 0,
        "hostname": "worker@host",
        "delivery_info": {"exchange": "", "routing_key": "celery", "redelivered": False},
        "traceparent": f"00-{number + 1:032x}-{number + 1:016x}-{'01' if sampled else '00'}",
        "taskqueue-enqueued-at": str(time.time_ns()),
    }


def _celery_floor(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    floor = Floor("celery", "memory")

    def execute(job: str, args: Any, kwargs: Any, request: dict[str, Any]) -> Any:
        return floor.execute(
            name, "celery", job, request, lambda: run(job, args, kwargs, request), _celery_failure
        )

    return execute


def _celery_failure(result: Any) -> tuple[BaseException, str] | None:
    info = result[1]
    return (info.retval, result[0].traceback) if info is not None else None


def _rq_sender(subject: str, redis: str) -> Callable[[int], None]:
    from redis import Redis
    from rq import Queue

    queue = Queue(connection=Redis.from_url(redis))
    floor = Floor("rq", "redis")

    def by_floor(count: int) -> None:
        for _ in range(count):
            floor.publish(
                RQ_JOB,
                queue.name,
                lambda carrier: queue.enqueue(RQ_JOB, meta={"_otel": carrier}, result_ttl=0),
            )

    def loop(count: int) -> None:
        for _ in range(count):
            queue.enqueue(RQ_JOB, result_ttl=0)

    return by_floor if subject == "floor" else loop


def _rq_floor_worker() -> type[Any]:
    from rq import SimpleWorker

    floor = Floor("rq", "redis")

    class FloorWorker(SimpleWorker):
        """Runs each job inside of the floor's span."""

        def perform_job(self, job: Any, queue: Any, *args: Any) -> Any:
            run = super().perform_job
            carrier = job.meta.get("_otel", {})
            return floor.execute(
                job.func_name, job.origin, job.id, carrier, lambda: run(job, queue, *args), lambda _: None
            )

    return FloorWorker


def _work(worker: Any, count: int) -> None:
    if count:
        worker.work(burst=True, max_jobs=count, logging_level="ERROR")
