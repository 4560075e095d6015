"""RQ jobs and workers for what lies beyond the ends of an attempt."""

from __future__ import annotations

import os
import subprocess
import sys
from signal import SIGKILL
from typing import Any, ClassVar

from rq import Queue
from rq.job import Job
from rq.worker import SimpleWorker, Worker

from support.apps import rq_jobs
from support.apps.notes import note
from support.apps.rq_jobs import attempt, current, tracer
from support.env import script


class Order:
    """A class whose method is a job."""

    def __init__(self, number: int) -> None:
        self.number = number

    def ship(self) -> int:
        """Do something with the order."""
        attempt()
        return self.number


#: Of a decorated function: all its calls share it.
SHARED_META: dict[str, Any] = {"team": "shop"}


def fail_once() -> str:
    """Fail the first time, whoever enqueues it again."""
    if attempt() == 0:
        raise rq_jobs.OrderError("not yet")
    return "second time"


def wipe_meta_and_fail() -> None:
    """Lose what the job's meta carried."""
    before = attempt()
    job = current()
    job.meta = {"progress": before}
    job.save_meta()
    raise rq_jobs.OrderError("no such order")


def enqueue_and_use_redis() -> None:
    """A callback-like mix: another job, and Redis for its own purposes."""
    attempt()
    job = current()
    Queue(job.origin, connection=job.connection).enqueue(rq_jobs.ok)
    job.connection.get("stock")


def start_a_program_that_uses_redis() -> None:
    """Another instrumented Python that knows nothing of the queue."""
    attempt()
    where = current().connection.connection_pool.connection_kwargs
    code = (
        "import redis\n"
        f"redis.Redis({where['host']!r}, {where['port']!r}, password={where['password']!r}).set('stock', 7)"
    )
    subprocess.run([script("opentelemetry-instrument"), sys.executable, "-c", code], check=True)


def use_redis_in_callback(job: Job, connection: Any, *_result: Any) -> None:
    """A callback of any kind with a call of its own."""
    note(job.id, "callback")
    with tracer.start_as_current_span("callback"):
        connection.get("stock")


def fail_in_callback(job: Job, _connection: Any, _result: Any) -> None:
    """A success callback that fails: RQ then takes the job for failed."""
    note(job.id, "callback")
    raise rq_jobs.OrderError("in the callback")


def kill_in_callback(job: Job, _connection: Any, _result: Any) -> None:
    """The work-horse dies after the job's function has returned."""
    note(job.id, "callback")
    os.kill(os.getpid(), SIGKILL)


# --- workers ----------------------------------------------------------------------------------
class Calling(Worker):
    """Overrides what runs a job, and calls its base class."""

    def perform_job(self, job: Job, queue: Queue, *args: Any, **kwargs: Any) -> bool:
        """Do something of its own around it."""
        note(job.id, "calling")
        return super().perform_job(job, queue, *args, **kwargs)

    def main_work_horse(self, *args: Any, **kwargs: Any) -> Any:
        """Likewise in the work-horse."""
        return super().main_work_horse(*args, **kwargs)

    def execute_job(self, job: Job, queue: Queue) -> Any:
        """Likewise in the parent."""
        return super().execute_job(job, queue)


class Replacing(SimpleWorker):
    """Overrides what runs a job, and does it all by itself."""

    results: ClassVar[list[Any]] = []

    def perform_job(self, job: Job, queue: Queue, *_: Any, **__: Any) -> bool:
        """The least that a worker has to do."""
        note(job.id, "replacing")
        with self.connection.pipeline() as pipeline:
            job.prepare_for_execution(self.name, pipeline)
            pipeline.execute()
        try:
            self.results.append(job.perform())
        except Exception as error:  # noqa: BLE001 - as RQ does
            self.handle_exception(job, type(error), error, error.__traceback__)
            return False
        with self.connection.pipeline() as pipeline:
            job.ended_at = job.started_at
            job.cleanup(500, pipeline=pipeline)
            pipeline.execute()
        del queue
        return True
