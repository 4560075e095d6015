"""RQ jobs whose ends are known in advance, without a note about each: there are a thousand of them."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from rq import Queue, Retry, get_current_job
from rq.command import send_stop_job_command
from rq.job import Job
from rq.timeouts import JobTimeoutException
from rq.worker import Worker

from support.apps.errors import OrderError, TransientError


def _current() -> Job:
    job = get_current_job()
    assert job is not None
    return job


def succeed() -> str:
    """Nothing else."""
    return "done"


def nap(seconds: float) -> None:
    """Take a while."""
    time.sleep(seconds)


def fail() -> None:
    """Raise."""
    raise OrderError("no such order")


def fail_again() -> None:
    """Raise, whoever asks."""
    raise TransientError("try again")


def fail_but_last() -> str:
    """Raise as long as there are attempts left."""
    if _current().retries_left:
        raise TransientError("try again")
    return "at last"


def ask_again(attempts: int = 1) -> Any:
    """Return a `Retry`, whoever asks."""
    return Retry(max=attempts)


def ask_once() -> Any:
    """Return a `Retry` the first time."""
    return "second time" if _current().number_of_retries else Retry(max=1)


def leave_by_system_exit() -> None:
    """Raise SystemExit."""
    raise SystemExit(3)


def overrun(seconds: float = 20.0) -> None:
    """Run into the timeout."""
    time.sleep(seconds)


def overrun_caught() -> str:
    """Catch the timeout and return."""
    try:
        time.sleep(20)
    except JobTimeoutException:
        return "tidied up"
    return "never"


def die(name: str = "SIGKILL") -> None:
    """End this process by a signal."""
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(20)


def die_but_last() -> str:
    """Die as long as there are attempts left."""
    if _current().retries_left:
        die()
    return "at last"


def leave(status: int) -> None:
    """End this process behind everybody's back."""
    os._exit(status)


def stop_me() -> None:
    """Have this job stopped by the command."""
    job = _current()
    send_stop_job_command(job.connection, job.id)
    time.sleep(20)


def enqueue_another() -> str:
    """Enqueue a job from within."""
    job = _current()
    return Queue(job.origin, connection=job.connection).enqueue(succeed).id


def burn_and_die(seconds: float, megabytes: int) -> None:
    """Use processor time and memory, then be killed."""
    hold = bytearray(os.urandom(1)) * (megabytes << 20)
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass
    assert len(hold) == megabytes << 20
    die()


def burn(seconds: float, megabytes: int) -> None:
    """Use processor time and memory, then return."""
    hold = bytearray(os.urandom(1)) * (megabytes << 20)
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass
    assert len(hold) == megabytes << 20


# --- callbacks ----------------------------------------------------------------------------------
def fail_in_callback(job: Job, _connection: Any, _result: Any) -> None:
    """RQ takes the job for failed."""
    raise OrderError(f"in the callback of {job.id}")


def leave_in_callback(_job: Job, _connection: Any, _result: Any) -> None:
    """The work-horse ends after the job's function has returned."""
    os._exit(9)


# --- workers ------------------------------------------------------------------------------------
class ClumsyWorker(Worker):
    """A worker with a fault: RQ logs it, and ends as if it had been asked to."""

    def handle_work_horse_killed(self, *args: Any, **kwargs: Any) -> None:
        """Make it worse."""
        super().handle_work_horse_killed(*args, **kwargs)
        raise OrderError("cannot handle that")
