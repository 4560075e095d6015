"""Tasks of which exactly one thing is known: how each attempt ends. They do next to nothing else.

They are counted by the test; what a child does at its birth and at its death is noted in a file.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from celery.signals import worker_process_init, worker_process_shutdown

from support.apps.errors import ExpectedError, OrderError, TransientError
from support.apps.notes import DIRECTORY

app = Celery(
    "truth", broker=os.environ["TASKQUEUE_TEST_BROKER"], backend=os.environ["TASKQUEUE_TEST_BACKEND"]
)
app.conf.update(
    task_default_queue=os.environ["TASKQUEUE_TEST_QUEUE"],
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=4,
    worker_lost_wait=0.3,
    # On a busy machine Celery would kill children that are slow to come up.
    worker_proc_alive_timeout=60.0,
    **json.loads(os.environ.get("TASKQUEUE_TEST_CONF", "{}")),
)


def write(name: str, line: str) -> None:
    """Append a line to a file that the test reads."""
    descriptor = os.open(Path(os.environ[DIRECTORY]) / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@worker_process_init.connect
def _born(**_: Any) -> None:
    write("born", str(os.getpid()))


@worker_process_shutdown.connect
def _ended(exitcode: int, **_: Any) -> None:
    write("ended", str(exitcode))


def burn(seconds: float) -> None:
    """Use the processor for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


@app.task
def succeed() -> str:
    """Return."""
    return "done"


@app.task
def nap(seconds: float) -> None:
    """Sleep, then return."""
    time.sleep(seconds)


@app.task(name="support.apps.truth_celery.burn")
def burn_task(seconds: float) -> None:
    """Use the processor, then return."""
    burn(seconds)


@app.task
def fail(number: int = 0) -> None:
    """Raise; an exception of its own for each number above 0."""
    if number:
        raise type(f"Error{number}", (Exception,), {"__module__": "shop"})("no")
    raise OrderError("no such order")


@app.task(throws=(ExpectedError,))
def fail_as_expected() -> None:
    """Raise what the task declares."""
    raise ExpectedError("sold out")


@app.task(bind=True, max_retries=3)
def retry_by_hand(self: Task, countdown: float = 0) -> None:
    """Ask for a second attempt."""
    if self.request.retries == 0:
        raise self.retry(countdown=countdown, exc=TransientError("later"))


@app.task(autoretry_for=(TransientError,), max_retries=2, default_retry_delay=0)
def retry_and_fail() -> None:
    """Fail three times."""
    raise TransientError("still not")


@app.task
def ignore() -> None:
    """End without a result."""
    raise Ignore


@app.task(bind=True, acks_late=True)
def reject_once(self: Task) -> None:
    """Give the message back, the first time."""
    if not self.request.delivery_info["redelivered"]:
        raise Reject("not now", requeue=True)


@app.task(acks_late=True)
def reject_for_good() -> None:
    """Throw the message away."""
    raise Reject("not for us", requeue=False)


@app.task(soft_time_limit=0.4)
def overrun_softly() -> None:
    """Run into the soft limit."""
    time.sleep(30)


@app.task(time_limit=0.5)
def overrun() -> None:
    """Run into the hard limit."""
    time.sleep(30)


@app.task
def die(name: str) -> None:
    """End this process by a signal."""
    write("victims", name)  # Celery runs it again when it has not heard of its start
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(30)


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def die_once(self: Task) -> None:
    """Kill this process, the first time."""
    if not self.request.delivery_info["redelivered"]:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
def leave(status: int = 7) -> None:
    """End this process behind everybody's back."""
    write("victims", "exit_code")
    os._exit(status)


@app.task
def system_exit() -> None:
    """Leave by SystemExit."""
    raise SystemExit(3)


@app.task(bind=True)
def revoked_meanwhile(self: Task) -> None:
    """Be revoked while it runs."""
    app.control.revoke(self.request.id, terminate=True)
    time.sleep(30)


@app.task(bind=True)
def tell(self: Task, seconds: float = 0) -> None:
    """Write the id of its span's trace, then sleep."""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    write("told", f"{self.request.id} {context.trace_id:032x} {context.span_id:016x}")
    time.sleep(seconds)


@app.task
def hog(megabytes: int) -> int:
    """Take memory and let it go again."""
    return len(bytearray(b"x") * (megabytes * 1024 * 1024))


_kept: list[bytearray] = []


@app.task
def keep(megabytes: int) -> None:
    """Take memory and keep it."""
    _kept.append(bytearray(b"x") * (megabytes * 1024 * 1024))


@app.task
def run_eagerly() -> None:
    """Run other tasks in this very process: they are no attempts of their own."""
    succeed.apply()
    fail.apply()


@app.task(bind=True, acks_late=True)
def slow_ack(self: Task, seconds: float = 0) -> None:
    """A task whose message is acknowledged after it has run."""
    write("runs", self.request.id)
    time.sleep(seconds)
