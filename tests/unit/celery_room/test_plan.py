"""When an entry of beat is due, by Celery's own schedules and a clock of the test."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import crontab, schedule

from otel_taskqueue.celery import plan

KOLKATA = ZoneInfo("Asia/Kolkata")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Celery:
    """An application that lives in Kolkata, where it is always ten past nine."""
    made = Celery("plan", set_as_current=False)
    made.conf.timezone = "Asia/Kolkata"
    monkeypatch.setattr(made, "now", lambda: at(9, 10))
    monkeypatch.setattr(plan, "time", SimpleNamespace(time=at(9, 10).timestamp))
    return made


def at(hour: int, minute: int = 0, days: int = 0) -> datetime:
    """A time in Kolkata, where nobody changes the clocks."""
    return datetime(2030, 6, 12, hour, minute, tzinfo=KOLKATA) + timedelta(days=days)


def upcoming(made: Any, last_run: datetime, when: float = 0.0) -> plan.Upcoming:
    """What is told of an entry that last ran then; beat looks again at ``when``."""
    return plan.upcoming(made, last_run, when, last_run.timestamp())


def test_an_interval_is_due_one_interval_after_its_last_run(app: Celery) -> None:
    """What follows needs not be told."""
    last_run = at(9).astimezone(timezone.utc)
    due = upcoming(schedule(90.5, app=app), last_run)
    assert due == (pytest.approx(last_run.timestamp() + 90.5, abs=0.05), False, ())


def test_a_crontab_is_due_by_the_clock_of_its_time_zone(app: Celery) -> None:
    """At half past four in Kolkata, whatever zone the last run was noted in."""
    for zone in (KOLKATA, timezone.utc):
        due = upcoming(crontab(hour=4, minute=30, app=app), at(9).astimezone(zone))
        assert due == (at(4, 30, days=1).timestamp(), False, (at(4, 30, days=2).timestamp(),))


def test_what_follows_a_crontab_within_a_day_is_told_along(app: Celery) -> None:
    """Office hours, on whole seconds and none of them twice."""
    due = upcoming(crontab(minute="*/30", hour="9-10", app=app), at(9, 5))
    expected = [at(9, 30), at(10), at(10, 30), at(9, days=1)]
    told = (due.next_due, *due.later)
    assert told[:4] == tuple(time.timestamp() for time in expected)
    assert max(told) <= at(9, 30, days=1).timestamp()
    assert sorted(set(told)) == list(told)


def test_what_is_told_of_a_minutely_crontab_is_bounded(app: Celery) -> None:
    """An hour of it."""
    due = upcoming(crontab(app=app), at(9))
    assert (due.next_due, *due.later) == tuple(at(9).timestamp() + 60 * number for number in range(1, 62))


def test_beat_looks_later_than_the_schedule_says(app: Celery) -> None:
    """A start time, or a deadline that has passed: beat's word counts, but it need not run then."""
    last_run = at(9)
    when = last_run.timestamp() + 5000
    assert upcoming(schedule(60, app=app), last_run, when) == (when, True, ())


def test_an_overdue_entry_is_due_when_it_was_due(app: Celery) -> None:
    """Beat was down and looks at once: the delay counts from the time that was missed."""
    last_run = at(9)
    due = plan.upcoming(
        schedule(60, app=app), last_run, last_run.timestamp() + 3600, last_run.timestamp() + 3600
    )
    assert due.next_due == pytest.approx(last_run.timestamp() + 60, abs=0.05)
    assert not due.tentative


class Whenever(schedule):
    """A schedule of a user, who has replaced only `is_due`."""

    def is_due(self, last_run_at: datetime) -> Any:  # noqa: ARG002
        return False, 7.0


class Sometimes(crontab):
    """One who has replaced what it is based on as well."""

    def is_due(self, last_run_at: datetime) -> Any:
        return super().is_due(last_run_at)

    def remaining_estimate(self, last_run_at: datetime, *_: Any) -> Any:
        return super().remaining_estimate(last_run_at)


def test_a_schedule_with_rules_of_its_own_is_due_when_beat_says(app: Celery) -> None:
    """Its `remaining_estimate` is the base class's and says nothing."""
    assert upcoming(Whenever(60, app=app), at(9), 123.0) == (123.0, True, ())
    assert plan.rhythm(Whenever(60, app=app))["interval"] is None
    assert upcoming(Sometimes(hour=4, minute=0, app=app), at(9)).next_due == at(4, days=1).timestamp()


@pytest.mark.parametrize(
    ("made", "rhythm"),
    [
        (schedule(timedelta(minutes=5)), {"interval": 300.0, "crontab": None, "timezone": None}),
        (
            crontab(minute="*/5", hour="1, 2", day_of_week="mon-fri"),
            {"interval": None, "crontab": "*/5 1,2 * * mon-fri", "timezone": "Asia/Kolkata"},
        ),
        (schedule(300, relative=True), {"interval": None, "crontab": None, "timezone": None}),
    ],
)
def test_how_often_is_told_in_words_of_the_schedule(app: Celery, made: Any, rhythm: dict[str, Any]) -> None:
    """Seconds, or the five fields and the time zone; a relative interval is neither."""
    made.app = app
    assert rhythm == plan.rhythm(made)
