"""What we remember about a job or a worker, on the object itself: it dies with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_taskqueue.core.attempts import Attempt
    from otel_taskqueue.core.failure import Again
    from otel_taskqueue.core.relay.lanes import Lane

_KEY = "_otel_taskqueue"


class JobNotes:
    """About one job object.

    ``sending``: an enqueue call for it is on its way, ``sent``: `enqueue_many` has made its span.
    ``error``: the exception that ended the attempt, ``again``: another attempt is on its way,
    ``asked``: the job has returned a `Retry`, which may be one too many.
    ``run`` and ``ran`` are what its hash in Redis says of its latest run: the span (traceparent
    form), and when the carrier of that run was written.
    """

    __slots__ = ("again", "asked", "error", "ran", "run", "sending", "sent")

    def __init__(self) -> None:
        self.sending = False
        self.sent = False
        self.error: BaseException | None = None
        self.again: Again | None = None
        self.asked = False
        self.run: str | None = None
        self.ran: str | None = None

    def start(self) -> None:
        """A run begins."""
        self.error = self.again = None
        self.asked = False

    def __reduce__(self) -> tuple[type[JobNotes], tuple[()]]:
        """Whoever pickles a job gets none of this."""
        return JobNotes, ()


class Watch:
    """What the worker's parent sees of the work-horse it forked for one job.

    ``status`` is the wait status (None: not seen), ``killed`` and ``stopped`` are RQ's own
    judgement, ``overdue``: the parent killed it a minute after its timeout. ``lane`` is the way
    home of its result, where it relays nothing.
    """

    __slots__ = ("attempt", "forked", "job", "killed", "lane", "oom_kills", "overdue", "status", "stopped")

    def __init__(self, attempt: Attempt, job: Any, oom_kills: int | None, lane: Lane | None = None) -> None:
        self.attempt = attempt
        self.job = job
        self.oom_kills = oom_kills
        self.lane = lane
        self.status: int | None = None
        self.forked = False
        self.killed = False
        self.overdue = False
        self.stopped = False

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that forked, not the work-horse that inherited this."""
        return self.attempt.owner == os.getpid()


class WorkerNotes:
    """About one worker object: the job it performs in this process, the horse it watches.

    ``failed``: an error of RQ or Redis has left its loop, which then ends as if it had been asked to.
    """

    __slots__ = ("failed", "is_horse", "performing", "watch")

    def __init__(self) -> None:
        self.performing: Any = None
        self.watch: Watch | None = None
        self.is_horse = False
        self.failed = False


def of_job(job: Any) -> JobNotes:
    """The notes about a job."""
    found: JobNotes | None = job.__dict__.get(_KEY)
    if found is None:
        found = job.__dict__[_KEY] = JobNotes()
    return found


def of_worker(worker: Any) -> WorkerNotes:
    """The notes about a worker."""
    found: WorkerNotes | None = worker.__dict__.get(_KEY)
    if found is None:
        found = worker.__dict__[_KEY] = WorkerNotes()
    return found


def watch_of(worker: Any, job: Any) -> Watch | None:
    """What this process watches of a job, None in the work-horse and outside of an attempt."""
    watch = of_worker(worker).watch
    if watch is None or watch.job.id != job.id or not watch.is_ours:
        return None
    return watch


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str, index: int = 0) -> Any:
    """An argument that callers pass by position or by name."""
    return kwargs[name] if name in kwargs else (args[index] if len(args) > index else None)
