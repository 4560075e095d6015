"""Beat is followed, whatever its scheduler is: the object's own `tick` and `apply_async`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import schedule

from otel_taskqueue.celery import schedule as module
from otel_taskqueue.celery.schedule import Beat
from otel_taskqueue.core.schedule import Schedule


class Board:
    """Counts how often something is to be told."""

    def __init__(self, *_: Any) -> None:
        self.posts = 0

    def post(self) -> None:
        self.posts += 1


class Scheduler:
    """A scheduler of somebody else, with a heap or without one."""

    def __init__(self, app: Celery, heap: list[Any] | None = None) -> None:
        self.app = app
        self.interval = 5.0
        self.failing = False
        if heap is not None:
            self._heap = heap

    def tick(self) -> float:
        return self.interval

    def apply_async(self, entry: Any, **_: Any) -> str:
        if self.failing:
            raise ConnectionError("no broker")
        return f"sent {entry.name}"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Celery:
    """An application whose beat tells nobody."""
    monkeypatch.setattr(module, "Board", Board)
    return Celery("shop", broker="memory://", set_as_current=False)


def entry_of(app: Celery, name: str = "tick", ran: int = 0, **more: Any) -> Any:
    """An entry every minute that last ran half a minute ago."""
    ago = datetime.now(timezone.utc) - timedelta(seconds=30)
    entry: Any = ScheduleEntry(
        name, "shop.tick", last_run_at=ago, total_run_count=ran, schedule=schedule(60, app=app), app=app
    )
    for key, value in more.items():
        setattr(entry, key, value)
    return entry


def followed(scheduler: Scheduler) -> tuple[Beat, Board]:
    """The scheduler with our looks at it."""
    beat = Beat(scheduler)
    beat.attach()
    board: Any = beat._board
    return beat, board


def told(beat: Beat, *past: Schedule) -> dict[str, Schedule]:
    """What the board would write."""
    return {found.name: found for found in beat._collect({schedule.name: schedule for schedule in past})}


def test_values_and_exceptions_of_the_scheduler_pass_unchanged(app: Celery) -> None:
    """It is followed, not changed."""
    scheduler = Scheduler(app, [])
    followed(scheduler)
    assert (5.0, "sent tick") == (scheduler.tick(), scheduler.apply_async(entry_of(app), producer=None))
    scheduler.failing = True
    with pytest.raises(ConnectionError):
        scheduler.apply_async(entry_of(app))


def test_runs_are_told_when_beat_goes_to_sleep(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred entries that are due at midnight are one message, not a hundred."""
    monkeypatch.setattr(module, "_BUSY", 30.0)
    scheduler = Scheduler(app, [])
    _, board = followed(scheduler)
    scheduler.tick()
    assert board.posts == 1
    scheduler.interval = 0.0
    for _ in range(100):
        scheduler.apply_async(entry_of(app))
        scheduler.tick()
    assert board.posts == 1
    scheduler.interval = 5.0
    scheduler.tick()
    assert board.posts == 2


def test_a_scheduler_without_beat_s_heap_tells_its_runs_only(app: Celery) -> None:
    """RedBeat keeps its entries in Redis: when they are due is not known, and nothing is made up."""
    scheduler = Scheduler(app)
    beat, _ = followed(scheduler)
    scheduler.apply_async(entry_of(app))
    scheduler.tick()
    tick = told(beat)["tick"]
    assert (tick.task, tick.next_due, len(tick.runs)) == ("shop.tick", None, 1)
    assert tick.last_run is not None


def test_a_run_that_failed_is_not_told(app: Celery) -> None:
    """Beat has noted it in its entry; the last run is the one that an earlier process told."""
    scheduler = Scheduler(app, [])
    beat, _ = followed(scheduler)
    scheduler.failing = True
    entry = entry_of(app, ran=7)
    with pytest.raises(ConnectionError):
        scheduler.apply_async(entry)
    scheduler._heap = [(0.0, 5, entry)]
    scheduler.tick()
    assert told(beat, Schedule("tick", "shop.tick", last_run=123.0))["tick"].last_run == 123.0


@pytest.mark.parametrize(("runs", "known"), [(0, False), (1, True)])
def test_an_entry_that_never_ran_has_no_last_run(app: Celery, runs: int, *, known: bool) -> None:
    """Its `last_run_at` is then the time at which beat was started."""
    scheduler = Scheduler(app, [(0.0, 5, entry_of(app, ran=runs))])
    beat, _ = followed(scheduler)
    scheduler.tick()
    assert known is (told(beat)["tick"].last_run is not None)


def test_entries_that_are_switched_off_or_gone_are_not_told(app: Celery) -> None:
    """django-celery-beat's table has a column for that."""
    off = entry_of(app, "off", model=SimpleNamespace(enabled=False))
    scheduler = Scheduler(app, [(0.0, 5, entry_of(app)), (0.0, 5, off), (0.0, 5, entry_of(app, "other"))])
    beat, _ = followed(scheduler)
    scheduler.tick()
    assert {"tick", "other"} == set(told(beat))
    scheduler._heap = [(0.0, 5, entry_of(app))]
    beat._posted_at = 0.0
    scheduler.tick()
    assert {"tick"} == set(told(beat))


def test_the_delay_counts_from_the_time_at_which_it_was_due(app: Celery) -> None:
    """Half a minute overdue when beat came back."""
    entry = entry_of(app)
    entry.last_run_at -= timedelta(seconds=60)
    scheduler = Scheduler(app, [(0.0, 5, entry)])
    beat, _ = followed(scheduler)
    scheduler.apply_async(entry)
    scheduler.tick()
    (run,) = told(beat)["tick"].runs
    assert run.ran - run.due == pytest.approx(30, abs=1)
