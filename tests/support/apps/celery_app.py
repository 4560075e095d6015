"""A Celery application with one task for every way an attempt can go.

It knows nothing of the instrumentation under test: the worker runs under
``opentelemetry-instrument`` like any application.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from typing import Any

import redis
from celery import Celery, Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from opentelemetry import trace

from support.apps.errors import ExpectedError, OrderError, TransientError
from support.apps.notes import note, own_notes

tracer = trace.get_tracer("shop")
log = logging.getLogger("shop.orders")
task_log = get_task_logger("shop.tasks")

app = Celery(
    "shop",
    broker=os.environ["TASKQUEUE_TEST_BROKER"],
    backend=os.environ.get("TASKQUEUE_TEST_BACKEND"),
)
app.conf.update(
    task_default_queue=os.environ.get("TASKQUEUE_TEST_QUEUE", "celery"),
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
    worker_prefetch_multiplier=1,
    # A worker waits this long for a lost child before it reports the loss.
    worker_lost_wait=0.5,
    task_time_limit=None,
    **json.loads(os.environ.get("TASKQUEUE_TEST_CONF", "{}")),
)


def redis_url() -> str:
    """The Redis which the tasks themselves use."""
    return os.environ["TASKQUEUE_TEST_REDIS"]


def attempt(task: Task) -> int:
    """Note who runs this attempt; return how many attempts there were before."""
    before = len(own_notes(task.request.id, "ran"))
    note(task.request.id, "ran", retries=task.request.retries)
    return before


# --- ordinary ends ---------------------------------------------------------------------------
@app.task(bind=True)
def ok(self: Task, value: Any = None) -> Any:
    """Return what was given."""
    attempt(self)
    return value


@app.task(bind=True)
def add(self: Task, *numbers: float) -> float:
    """Add numbers; canvas hands results over as arguments."""
    attempt(self)
    return sum(n if not isinstance(n, list) else sum(n) for n in numbers)


@app.task(bind=True)
def fail(self: Task) -> None:
    """Raise."""
    attempt(self)
    raise OrderError("no such order")


@app.task(bind=True, throws=(ExpectedError,))
def fail_expected(self: Task) -> None:
    """Raise what the task declares."""
    attempt(self)
    raise ExpectedError("sold out")


@app.task(bind=True)
def ignore(self: Task) -> None:
    """End without a result."""
    attempt(self)
    raise Ignore


@app.task(bind=True, acks_late=True)
def reject_requeue_once(self: Task) -> str:
    """Hand the message back the first time."""
    if attempt(self) == 0:
        raise Reject("not now", requeue=True)
    return "second time"


@app.task(bind=True, acks_late=True)
def reject_drop(self: Task) -> None:
    """Throw the message away."""
    attempt(self)
    raise Reject("not for us", requeue=False)


@app.task(bind=True)
def system_exit(self: Task) -> None:
    """Leave by SystemExit."""
    attempt(self)
    raise SystemExit(3)


# --- retries -----------------------------------------------------------------------------------
@app.task(
    bind=True,
    autoretry_for=(TransientError,),
    max_retries=2,
    default_retry_delay=0.2,
)
def autoretry_until_success(self: Task) -> str:
    """Fail twice, then succeed."""
    if attempt(self) < 2:
        raise TransientError("try again")
    return "third time"


@app.task(
    bind=True,
    autoretry_for=(TransientError,),
    max_retries=1,
    default_retry_delay=0.2,
)
def autoretry_until_failure(self: Task) -> None:
    """Fail until nobody retries."""
    attempt(self)
    raise TransientError("still not")


@app.task(bind=True, max_retries=1)
def retry_with_countdown(self: Task, countdown: float = 1.0) -> str:
    """Ask for a second attempt after a while."""
    if attempt(self) == 0:
        raise self.retry(countdown=countdown, exc=TransientError("later"))
    return "second time"


@app.task(bind=True)
def replace(self: Task) -> None:
    """Put another task in this one's place."""
    attempt(self)
    raise self.replace(ok.s("replaced"))


# --- time limits ---------------------------------------------------------------------------------
@app.task(bind=True, soft_time_limit=1)
def soft_limit(self: Task) -> None:
    """Run into the soft limit."""
    attempt(self)
    time.sleep(30)


@app.task(bind=True, soft_time_limit=1)
def soft_limit_caught(self: Task) -> str:
    """Catch the soft limit and return."""
    attempt(self)
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "tidied up"
    return "never"


@app.task(bind=True, time_limit=1)
def hard_limit(self: Task) -> None:
    """Run into the hard limit."""
    attempt(self)
    time.sleep(30)


@app.task(bind=True, time_limit=1)
def hard_limit_swallowed(self: Task) -> str:
    """Swallow the SystemExit by which the hard limit ends the child, and return at once."""
    attempt(self)
    try:
        time.sleep(30)
    except SystemExit:
        return "I go on"
    return "never"


# --- violent ends ----------------------------------------------------------------------------------
@app.task(bind=True)
def kill_self(self: Task, signal_name: str = "SIGKILL") -> None:
    """End this process by a signal."""
    attempt(self)
    with tracer.start_as_current_span("before the kill"):
        pass
    os.kill(os.getpid(), getattr(signal, signal_name))
    time.sleep(30)


@app.task(bind=True)
def leave(self: Task, status: int = 7) -> None:
    """End this process behind everybody's back."""
    attempt(self)
    os._exit(status)


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def kill_self_once(self: Task) -> str:
    """Kill the child the first time, succeed when the message comes back."""
    if attempt(self) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(30)
    return "second time"


@app.task(bind=True)
def hog(self: Task, megabytes: int = 200) -> int:
    """Take memory, for max-memory-per-child."""
    attempt(self)
    return len(bytearray(b"x") * (megabytes * 1024 * 1024))


@app.task(bind=True)
def sleep(self: Task, seconds: float) -> str:
    """Take a while."""
    attempt(self)
    time.sleep(seconds)
    note(self.request.id, "slept")
    return "slept"


# --- what happens inside -----------------------------------------------------------------------------
@app.task(bind=True)
def inner_spans(self: Task, count: int = 3) -> None:
    """Make spans of its own."""
    attempt(self)
    for number in range(count):
        with tracer.start_as_current_span(f"step {number}"):
            pass


@app.task(bind=True)
def nested_publish(self: Task) -> str:
    """Enqueue another job."""
    attempt(self)
    return ok.delay("nested").id


@app.task(bind=True)
def redis_call(self: Task) -> None:
    """Use Redis for the task's own purposes."""
    attempt(self)
    with redis.Redis.from_url(redis_url()) as client:
        client.set("stock", 1)


@app.task(bind=True)
def write_logs(self: Task) -> None:
    """Write by every kind of logger, and by print."""
    attempt(self)
    log.info("plain line of %s", self.request.id)
    task_log.warning("task line of %s", self.request.id, extra={"job_id": "mine"})
    print(f"printed by {self.request.id}")


# --- callbacks of links -------------------------------------------------------------------------------
@app.task(bind=True)
def errback_old(self: Task, failed_id: str) -> None:
    """Errback by id: published as a task of its own."""
    attempt(self)
    note(failed_id, "errback_old", by=self.request.id)


@app.task
def errback_new(request: Any, error: BaseException, traceback: Any) -> None:
    """Errback with three arguments: called inline, in whichever process notices the failure."""
    note(request.id, "errback_new", error=type(error).__name__)
    with tracer.start_as_current_span("errback"):
        pass


@app.task(bind=True)
def callback(self: Task, result: Any) -> Any:
    """What ``link`` calls with the result."""
    attempt(self)
    return result


@app.task
def plain(value: Any) -> Any:
    """Return what was given, without looking at the request."""
    with tracer.start_as_current_span("plain work"):
        return value


if os.environ.get("TASKQUEUE_TEST_ROLE") == "worker":

    @app.task(bind=True, name="support.apps.worker_only")
    def worker_only(self: Task, value: Any) -> Any:
        """Known to the worker alone."""
        attempt(self)
        return value
