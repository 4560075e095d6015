"""RQ jobs: one function for every way an attempt can go.

They know nothing of the instrumentation under test: the worker runs under
``opentelemetry-instrument`` like any application.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from typing import Any

import redis
from opentelemetry import trace
from rq import Queue, Retry, get_current_job
from rq.job import Job
from rq.timeouts import JobTimeoutException

from support.apps.errors import OrderError, TransientError
from support.apps.notes import note, own_notes

tracer = trace.get_tracer("shop")
log = logging.getLogger("shop.orders")


def current() -> Job:
    """The job that runs."""
    job = get_current_job()
    assert job is not None
    return job


def attempt() -> int:
    """Note who runs this attempt; return how many attempts there were before."""
    job_id = current().id
    before = len(own_notes(job_id, "ran"))
    note(job_id, "ran")
    return before


# --- ordinary ends ---------------------------------------------------------------------------
def ok(value: Any = None) -> Any:
    """Return what was given."""
    attempt()
    return value


def add(*numbers: float) -> float:
    """Add numbers."""
    attempt()
    return sum(numbers)


def fail() -> None:
    """Raise."""
    attempt()
    raise OrderError("no such order")


def system_exit() -> None:
    """Leave by SystemExit."""
    attempt()
    raise SystemExit(3)


# --- retries (the publisher says how often) -----------------------------------------------------
def fail_times(times: int) -> str:
    """Fail that many times, then succeed."""
    if attempt() < times:
        raise TransientError("try again")
    return "at last"


def return_retry(interval: int = 0) -> Any:
    """Ask for a second attempt by the return value."""
    if attempt() == 0:
        return Retry(max=1, interval=interval)
    return "second time"


# --- time limits ----------------------------------------------------------------------------------
def run_over() -> None:
    """Run into the timeout which the publisher has set."""
    attempt()
    time.sleep(30)


def run_over_caught() -> str:
    """Catch the timeout and return."""
    attempt()
    try:
        time.sleep(30)
    except JobTimeoutException:
        return "tidied up"
    return "never"


def run_over_once() -> str:
    """Run into the timeout the first time."""
    if attempt() == 0:
        time.sleep(30)
    return "second time"


# --- violent ends -----------------------------------------------------------------------------------
def kill_self(signal_name: str = "SIGKILL") -> None:
    """End this process by a signal."""
    attempt()
    with tracer.start_as_current_span("before the kill"):
        pass
    os.kill(os.getpid(), getattr(signal, signal_name))
    time.sleep(30)


def kill_self_once() -> str:
    """Kill the work-horse the first time."""
    if attempt() == 0:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(30)
    return "second time"


def leave(status: int = 7) -> None:
    """End this process behind everybody's back."""
    attempt()
    os._exit(status)


def sleep(seconds: float) -> str:
    """Take a while."""
    attempt()
    time.sleep(seconds)
    note(current().id, "slept")
    return "slept"


# --- what happens inside -----------------------------------------------------------------------------
def inner_spans(count: int = 3) -> None:
    """Make spans of its own."""
    attempt()
    for number in range(count):
        with tracer.start_as_current_span(f"step {number}"):
            pass


def nested_publish() -> str:
    """Enqueue another job."""
    attempt()
    job = current()
    return Queue(job.origin, connection=job.connection).enqueue(ok, "nested").id


def redis_call() -> None:
    """Use Redis for the job's own purposes."""
    attempt()
    with redis.Redis.from_url(os.environ["TASKQUEUE_TEST_REDIS"]) as client:
        client.set("stock", 1)


def write_logs() -> None:
    """Write by a logger, and by print."""
    attempt()
    log.warning("plain line of %s", current().id, extra={"job_id": "mine"})
    print(f"printed by {current().id}")


async def coroutine() -> str:
    """A coroutine job."""
    attempt()
    with tracer.start_as_current_span("awaited"):
        return "awaited"


def leave_a_grandchild(seconds: float = 20.0) -> None:
    """Leave a process behind that inherits every descriptor it can."""
    attempt()
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"], close_fds=False)


def change_meta() -> None:
    """Replace the job's meta, as applications do."""
    attempt()
    job = current()
    job.meta = {"progress": 100}
    job.save_meta()


# --- callbacks -----------------------------------------------------------------------------------------
def on_success(job: Job, connection: Any, result: Any) -> None:
    """Called after a success."""
    _callback(job, "on_success")


def on_failure(job: Job, connection: Any, *exc_info: Any) -> None:
    """Called after a failure."""
    _callback(job, "on_failure")


def on_stopped(job: Job, connection: Any) -> None:
    """Called after a stop command."""
    _callback(job, "on_stopped")


def leave_in_callback(job: Job, connection: Any, result: Any) -> None:
    """End the work-horse after the job itself has succeeded."""
    _callback(job, "leave_in_callback")
    os._exit(9)


def _callback(job: Job, name: str) -> None:
    note(job.id, name)
    with tracer.start_as_current_span(name):
        pass
