"""Beat tells when each of its schedules last ran and is due next: the observer judges what was missed."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_taskqueue import semconv
from otel_taskqueue.celery import plan, stores
from otel_taskqueue.core.board import Board
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.schedule import MAX_SCHEDULES, Schedule, cut, key_of, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

#: Seconds after which it is told again although nothing ran; beat itself may sleep up to 300 s.
_REFRESH: Final = 60.0
#: Seconds for which a busy beat, that never sleeps, may keep its runs to itself.
_BUSY: Final = 1.0
#: Runs that wait for a Redis which does not answer.
_WAITING: Final = 1000


def follow(telemetry: Telemetry) -> Wrapper:
    """Wrap `Service.get_scheduler`: the scheduler may be of any class, so the object itself is followed."""

    def wrapper(get_scheduler: Callable[..., Any]) -> Callable[..., Any]:
        if not telemetry.settings.schedules:
            return get_scheduler

        def get_followed_scheduler(service: Any, *args: Any, **kwargs: Any) -> Any:
            scheduler = get_scheduler(service, *args, **kwargs)
            with Guarded("schedules"):
                if not (args[0] if args else kwargs.get("lazy")):  # a lazy one is only looked at
                    Beat(scheduler).attach()
            return scheduler

        return get_followed_scheduler

    return wrapper


class Ran(NamedTuple):
    """One entry that beat has sent, as it was before: an entry is replaced or changed by its run."""

    name: str
    task: str
    schedule: Any
    last_run_at: Any
    at: float


class Beat:
    """One scheduler of beat: notes what it does in its own thread, tells it in the board's."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._ran: deque[Ran] = deque(maxlen=_WAITING)
        self._heap: list[Any] | None = None
        self._posted_at = float("-inf")
        self._told: dict[str, _Told] = {}
        app = scheduler.app
        key = key_of(semconv.CELERY, stores.scheduler_name(app))
        self._board = Board(key, lambda: stores.pool_of(app), self._collect)

    def attach(self) -> None:
        """Look at each tick and each entry that is sent."""
        self._scheduler.apply_async = self._around_apply(self._scheduler.apply_async)
        self._scheduler.tick = self._around_tick(self._scheduler.tick)

    def _around_apply(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        def apply_async(entry: Any, *args: Any, **kwargs: Any) -> Any:
            ran = None
            with Guarded("schedules"):
                name, task = cut(str(entry.name)), cut(str(entry.task))
                ran = Ran(name, task, entry.schedule, entry.last_run_at, time.time())
            result = apply(entry, *args, **kwargs)
            if ran is not None:
                self._ran.append(ran)
            return result

        return apply_async

    def _around_tick(self, tick: Callable[..., Any]) -> Callable[..., Any]:
        def tick_once(*args: Any, **kwargs: Any) -> Any:
            interval = tick(*args, **kwargs)
            with Guarded("schedules"):
                self._after_tick(asleep=bool(interval))
            return interval

        return tick_once

    def _after_tick(self, *, asleep: bool) -> None:
        """Tell what ran once nothing more is due, and now and then that nothing did."""
        silent = time.monotonic() - self._posted_at
        if silent >= _REFRESH or (self._ran and (asleep or silent >= _BUSY)):
            self._posted_at = time.monotonic()
            heap = getattr(self._scheduler, "_heap", None)
            self._heap = None if heap is None else list(heap)
            self._board.post()

    # --- from here on: in the thread of the board --------------------------------------------------

    def _collect(self, past: Mapping[str, Schedule]) -> list[Schedule]:
        while self._ran:
            ran = self._ran.popleft()
            self._told_of(ran.name, past).add(ran)
        now, events = time.time(), self._heap
        if events is None:  # a scheduler without beat's heap: when its entries are due is not known
            return [told.without_plan(now) for told in self._told.values()]
        heap = {cut(str(event[2].name)): event for event in events if _is_on(event[2])}
        names = sorted(heap)[:MAX_SCHEDULES]
        self._told = {name: self._told_of(name, past) for name in names}
        return [told.planned(heap[name][2], heap[name][0], now) for name, told in self._told.items()]

    def _told_of(self, name: str, past: Mapping[str, Schedule]) -> _Told:
        found = self._told.get(name)
        if found is None:
            found = self._told[name] = _Told(past.get(name) or Schedule(name, ""))
        return found


class _Told:
    """What is told about one entry."""

    def __init__(self, last: Schedule) -> None:
        self._last = last
        self._due: float | None = None
        self._basis: tuple[Any, ...] = ()

    def add(self, ran: Ran) -> None:
        """The entry was sent."""
        due = self._due
        if due is None and ran.schedule is not None:
            due = plan.due_after(ran.schedule, ran.last_run_at)
        self._last = self._last.ran(due, ran.at)._replace(task=ran.task)
        self._due = None

    def planned(self, entry: Any, when: float, now: float) -> Schedule:
        """The entry as it stands in beat's heap, to be looked at again at ``when``."""
        basis = (entry.schedule, entry.last_run_at, when)
        if basis != self._basis:
            self._basis = basis
            upcoming = plan.upcoming(entry.schedule, entry.last_run_at, when, now)
            self._due = upcoming.next_due
            self._last = self._last._replace(
                task=cut(str(entry.task)),
                **plan.rhythm(entry.schedule),
                **upcoming._asdict(),
                last_run=self._last.last_run or _claimed(entry),
            )
        return self._last._replace(written_at=moment(now))

    def without_plan(self, now: float) -> Schedule:
        """The entry, of which it is known only that it ran."""
        return self._last._replace(next_due=None, tentative=False, later=(), written_at=moment(now))


def _is_on(entry: Any) -> bool:
    """Not switched off in django-celery-beat's table: beat keeps it in its heap for a while."""
    return getattr(getattr(entry, "model", None), "enabled", True) is not False


def _claimed(entry: Any) -> float | None:
    """What the entry says of its last run; of one that never ran it is the time of its making."""
    ran_at: Any = entry.last_run_at
    if not getattr(entry, "total_run_count", 0) or not isinstance(ran_at, datetime):
        return None
    return moment(ran_at.timestamp())
