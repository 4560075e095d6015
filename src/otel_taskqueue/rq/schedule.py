"""RQ's cron tells when each of its jobs last ran and is due next: the observer judges what was missed."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_taskqueue import semconv
from otel_taskqueue.core.board import Board
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.schedule import HORIZON, MAX_DUE, Schedule, cut, key_of, moment
from otel_taskqueue.rq import compat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

#: Seconds after which it is told again although nothing ran; the scheduler sleeps 60 s at most.
_REFRESH: Final = 60.0
_WAITING: Final = 1000
_ATTRIBUTE: Final = "_otel_taskqueue_cron"


def cron(telemetry: Telemetry) -> Wrapper:
    """Wrap `CronScheduler.enqueue_jobs`, one round of the scheduler."""

    def wrapper(enqueue_jobs: Callable[..., Any]) -> Callable[..., Any]:
        if not telemetry.settings.schedules:
            return enqueue_jobs

        def enqueue_due_jobs(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            followed, before = None, []
            with Guarded("schedules"):
                followed = _followed(scheduler)
                before = followed.look()
            try:
                return enqueue_jobs(scheduler, *args, **kwargs)
            finally:
                with Guarded("schedules"):
                    if followed is not None:
                        followed.after(before)

        return enqueue_due_jobs

    return wrapper


class Entry(NamedTuple):
    """One cron job as it stands; times in unix seconds, None: not yet."""

    name: str
    task: str
    interval: float | None
    cron: str | None
    ran: float | None
    due: float | None


class Cron:
    """One `CronScheduler`: looked at in its own thread, told in the board's."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._ran: deque[Entry] = deque(maxlen=_WAITING)
        self._entries: list[Entry] = []
        self._posted_at = float("-inf")
        self._told: dict[str, Schedule] = {}
        # Its own name changes with each start.
        key = key_of(semconv.RQ, getattr(scheduler, "config_file", "") or "cron")
        self._board = Board(key, lambda: scheduler.connection.connection_pool, self._collect)

    def look(self) -> list[Entry]:
        """Its jobs, in the order in which they were registered."""
        names: dict[str, int] = {}
        return [_entry(job, names) for job in self._scheduler.get_jobs()]

    def after(self, before: list[Entry]) -> None:
        """One round is over: what ran is told, and now and then that nothing did."""
        self._entries = self.look()
        ran = {entry.name: entry.ran for entry in self._entries}
        self._ran.extend(
            entry._replace(ran=ran[entry.name])
            for entry in before
            if ran.get(entry.name, entry.ran) != entry.ran
        )
        if self._ran or time.monotonic() - self._posted_at >= _REFRESH:
            self._posted_at = time.monotonic()
            self._board.post()

    # --- from here on: in the thread of the board ------------------------------------------------

    def _collect(self, past: Mapping[str, Schedule]) -> list[Schedule]:
        while self._ran:
            ran = self._ran.popleft()
            if ran.ran is not None:
                self._told[ran.name] = self._last(ran.name, past).ran(ran.due, ran.ran)
        self._told = {entry.name: _now(entry, self._last(entry.name, past)) for entry in self._entries}
        return list(self._told.values())

    def _last(self, name: str, past: Mapping[str, Schedule]) -> Schedule:
        return self._told.get(name) or past.get(name) or Schedule(name, "")


def _followed(scheduler: Any) -> Cron:
    members: dict[str, Any] = scheduler.__dict__
    found: Any = members.get(_ATTRIBUTE)
    if found is None:
        found = members[_ATTRIBUTE] = Cron(scheduler)
    return found


def _entry(job: Any, names: dict[str, int]) -> Entry:
    task = cut(str(getattr(job, "func_name", None) or getattr(job.func, "__qualname__", job.func)))
    name = cut(str(getattr(job, "name", None) or task))
    names[name] = number = names.get(name, 0) + 1
    if number > 1:  # several jobs may have one name
        name = f"{name}#{number}"
    return Entry(
        name, task, job.interval or None, getattr(job, "cron", None), _time(job, "latest"), _time(job, "next")
    )


def _time(job: Any, which: str) -> float | None:
    """Its last or next time; the attributes were called ``..._run_time`` before RQ 2.7."""
    found = getattr(job, f"{which}_enqueue_time", None) or getattr(job, f"{which}_run_time", None)
    at = compat.nanoseconds(found)
    return moment(at / 1e9) if at else None


def _now(entry: Entry, last: Schedule) -> Schedule:
    later = last.later
    if entry.due != last.next_due or entry.cron != last.crontab:
        later = _later(entry.cron, entry.due)
    return last._replace(
        task=entry.task,
        interval=entry.interval,
        crontab=entry.cron,
        timezone="UTC" if entry.cron else None,
        next_due=entry.due,
        later=later,
        written_at=moment(time.time()),
    )


def _later(cron: str | None, due: float | None) -> tuple[float, ...]:
    if cron is None or due is None:
        return ()
    times = sys.modules["rq.cron"].croniter(cron, due)  # RQ's own, and as RQ uses it: in UTC
    found: list[float] = []
    while len(found) < MAX_DUE:
        following = float(times.get_next(float))
        if following > due + HORIZON:
            break
        found.append(following)
    return tuple(found)
