"""The judgement of a schedule, with a clock that stands still: what ran, what ran late, what was missed."""

from __future__ import annotations

import pytest

from otel_taskqueue.core.schedule import HORIZON, Run, Schedule
from otel_taskqueue.observe.judge import Memory, Verdict, is_gone, judge

NOON = 1_800_000_000.0
GRACE = 60.0
EVERY_10 = Schedule("tick", "shop.tick", interval=10.0, last_run=NOON - 10, next_due=NOON)
DAILY = Schedule("night", "shop.night", crontab="0 12 * * *", last_run=NOON - 86400, next_due=NOON)


class Observer:
    """Looks at one schedule again and again, as the source does."""

    def __init__(self, since: float = NOON - 1000) -> None:
        self.since = since
        self.memory: Memory | None = Memory()
        self.missed = 0
        self.lags: list[float] = []

    def look(self, schedule: Schedule, now: float) -> Verdict:
        verdict = judge(schedule, self.memory, self.since, now, GRACE)
        self.memory = verdict.memory
        self.since = max(self.since, now - GRACE)
        self.missed += verdict.missed
        self.lags += verdict.lags
        return verdict


def ran(schedule: Schedule, due: float, at: float, following: float) -> Schedule:
    return schedule.ran(due, at)._replace(next_due=following)


@pytest.mark.parametrize(("late", "missed"), [(0.0, 0), (59.9, 0), (60.0, 1), (69.9, 1), (70.0, 2)])
def test_a_due_time_is_missed_when_the_grace_is_over(late: float, missed: int) -> None:
    """An interval that nobody runs: one more for each due time whose grace has passed."""
    assert missed == judge(EVERY_10, Memory(), NOON - 1000, NOON + late, GRACE).missed


def test_a_dead_scheduler_s_due_times_are_counted_once_each() -> None:
    """However often somebody looks: 120 s without a run and a grace of 60 s are 7 due times of 10 s."""
    observer = Observer()
    for second in range(0, 121, 7):
        observer.look(EVERY_10, NOON + second)
    observer.look(EVERY_10, NOON + 120)
    observer.look(EVERY_10, NOON + 120)
    assert observer.missed == 7


def test_a_schedule_that_runs_is_never_missed() -> None:
    """Each run comes 0.2 s late; looks come between, before and after runs."""
    observer = Observer()
    schedule = EVERY_10
    for tick in range(30):
        due = NOON + 10 * tick
        observer.look(schedule, due - 0.1)
        observer.look(schedule, due + 0.1)
        schedule = ran(schedule, due, due + 0.2, due + 10)
        observer.look(schedule, due + 0.3)
    assert (observer.missed, len(observer.lags)) == (0, 30)
    assert observer.lags == pytest.approx([0.2] * 30, abs=0.001)


def test_each_run_s_delay_is_told_once_also_for_many_runs_between_two_looks() -> None:
    """Twenty runs are kept for the observer; it tells those that it has not seen."""
    observer = Observer()
    schedule = EVERY_10._replace(interval=1.0)
    for tick in range(5):
        schedule = ran(schedule, NOON + tick, NOON + tick + 0.5, NOON + tick + 1)
    observer.look(schedule, NOON + 5)
    schedule = ran(schedule, NOON + 5, NOON + 5.25, NOON + 6)
    observer.look(schedule, NOON + 6)
    observer.look(schedule, NOON + 6)
    assert observer.lags == [0.5] * 5 + [0.25]


def test_a_late_run_within_the_grace_is_late_and_not_missed() -> None:
    """A restart of the scheduler in time is no alarm."""
    observer = Observer()
    observer.look(EVERY_10, NOON + 45)
    observer.look(ran(EVERY_10, NOON, NOON + 50, NOON + 60), NOON + 51)
    observer.look(ran(EVERY_10, NOON, NOON + 50, NOON + 60), NOON + 64)
    assert (observer.missed, observer.lags) == (0, [50.0])


def test_what_was_missed_before_the_run_came_stays_counted() -> None:
    """A run after the grace is told with its delay; its due time was missed all the same."""
    observer = Observer()
    observer.look(DAILY, NOON + 61)
    assert observer.missed == 1
    observer.look(ran(DAILY, NOON, NOON + 3600, NOON + 86400), NOON + 3601)
    assert (observer.missed, observer.lags) == (1, [3600.0])


def test_a_scheduler_that_forgets_what_it_missed_does_not_hide_it() -> None:
    """RQ's cron starts anew with the next due time; that it was down at noon is known from before."""
    observer = Observer()
    observer.look(DAILY, NOON - 5)
    back = DAILY._replace(next_due=NOON + 86400)
    observer.look(back, NOON + 30)
    assert observer.missed == 0
    observer.look(back, NOON + 60)
    observer.look(back, NOON + 75)
    assert observer.missed == 1


def test_a_changed_schedule_has_missed_nothing() -> None:
    """At half past eleven noon becomes one o'clock: at noon nothing was due."""
    observer = Observer()
    observer.look(DAILY, NOON - 1801)
    observer.look(DAILY._replace(next_due=NOON + 3600), NOON - 1799)
    observer.look(DAILY._replace(next_due=NOON + 3600), NOON + 120)
    assert observer.missed == 0


def test_without_an_interval_what_follows_is_known_as_far_as_it_was_told() -> None:
    """Noon, and two more that its scheduler wrote along; then nobody knows."""
    observer = Observer()
    told = DAILY._replace(later=(NOON + 60, NOON + 120))
    for minute in range(20):
        observer.look(told, NOON + 60 * minute)
    assert observer.missed == 3


def test_a_tentative_time_may_move_without_a_run() -> None:
    """A schedule with rules of its own is looked at again every 5 s; only a standstill is a miss."""
    observer = Observer()
    schedule = Schedule("own", "shop.own", next_due=NOON, tentative=True)
    for second in range(0, 300, 5):
        observer.look(schedule._replace(next_due=NOON + second + 5), NOON + second)
    assert observer.missed == 0
    observer.look(schedule._replace(next_due=NOON + 300), NOON + 360)
    assert observer.missed == 1


def test_the_first_sight_of_a_schedule_tells_nothing_old() -> None:
    """An observer that starts long after a scheduler died counts from now on."""
    now = NOON + 3605
    old = EVERY_10._replace(runs=(Run(NOON - 20, NOON - 20), Run(NOON - 10, NOON - 10)))
    verdict = judge(old, None, now - GRACE, now, GRACE)
    assert (verdict.missed, verdict.lags) == (0, ())
    assert judge(old, verdict.memory, now - GRACE, now + 10, GRACE).missed == 1


def test_a_leader_that_comes_late_counts_what_came_due_meanwhile() -> None:
    """Ten minutes without any observer: what it remembers says from when on."""
    verdict = judge(EVERY_10, Memory(), NOON - 1, NOON + 659, GRACE)
    assert verdict.missed == 60


def test_very_many_due_times_are_bounded() -> None:
    """A schedule of a millisecond and a long pause cannot stop the observer."""
    fast = EVERY_10._replace(interval=0.001)
    assert judge(fast, Memory(), NOON - 1, NOON + 36000, GRACE).missed <= 1001


def test_a_schedule_that_never_ran_can_be_missed() -> None:
    """Its scheduler died before its first time."""
    assert judge(DAILY._replace(last_run=None), Memory(), NOON - 1, NOON + 61, GRACE).missed == 1


@pytest.mark.parametrize(("written", "gone"), [(0.0, False), (HORIZON, False), (-1.0, True)])
def test_a_schedule_is_gone_a_day_after_it_was_due_and_written(written: float, *, gone: bool) -> None:
    """A scheduler that was taken away alarms for a day."""
    schedule = EVERY_10._replace(written_at=NOON + written, next_due=NOON - 1)
    assert gone is is_gone(schedule, NOON + HORIZON)
