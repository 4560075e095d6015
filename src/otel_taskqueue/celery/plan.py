"""When a schedule of beat is due: what its own `remaining_estimate` says, and what beat makes of it."""

from __future__ import annotations

import math
import sys
import time
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from otel_taskqueue.core.patch import owner_of
from otel_taskqueue.core.schedule import HORIZON, MAX_DUE, moment

_CRONTAB: Final = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
#: Beat wakes up 10 ms early and counts from when it is awake.
_BEATS_OWN_DELAY: Final = 1.0
_LEAST_DISTANCE: Final = 1.0


class Upcoming(NamedTuple):
    """When an entry is due; see `core.schedule.Schedule` for the words."""

    next_due: float
    tentative: bool = False
    later: tuple[float, ...] = ()


def upcoming(schedule: Any, last_run_at: Any, when: float, now: float) -> Upcoming:
    """When an entry is due next, and what follows within a day if the distance is not fixed.

    Args:
        schedule: Of the entry.
        last_run_at: Of the entry.
        when: At which unix time beat will look at the entry again.
        now: Unix time.
    """
    due = due_after(schedule, last_run_at) if _says_when(schedule) else None
    if due is None or (when > now and when > due + _BEATS_OWN_DELAY):
        return Upcoming(moment(when), tentative=True)  # a start time, a deadline, rules of its own
    if rhythm(schedule)["interval"] is not None:
        return Upcoming(moment(due))
    return Upcoming(moment(due), later=_later(schedule, due))


def due_after(schedule: Any, last_run_at: Any) -> float | None:
    """The first time after ``last_run_at`` at which the schedule is due (unix s), in the past if overdue."""
    if not isinstance(last_run_at, datetime):
        return None
    zone: Any = getattr(schedule, "tz", None)
    if zone is not None and last_run_at.tzinfo is not None:
        last_run_at = last_run_at.astimezone(zone)  # before 5.4 a crontab compares the fields as they are
    before = time.time()
    remaining = schedule.remaining_estimate(last_run_at)
    if remaining is None:
        return None
    # It was counted from a moment between `before` and now, and a crontab is due at whole seconds.
    earliest = before + remaining.total_seconds()
    whole = math.ceil(earliest)
    return float(whole) if whole <= time.time() + remaining.total_seconds() else earliest


def rhythm(schedule: Any) -> dict[str, Any]:
    """How often: ``interval`` in seconds, or the ``crontab`` and its ``timezone``; else nothing."""
    known = sys.modules["celery.schedules"]
    told: dict[str, Any] = {"interval": None, "crontab": None, "timezone": None}
    if isinstance(schedule, known.crontab):
        fields = [str(getattr(schedule, f"_orig_{name}", "?")) for name in _CRONTAB]
        told.update(crontab=" ".join("".join(field.split()) for field in fields), timezone=str(schedule.tz))
    elif isinstance(schedule, known.schedule) and _says_when(schedule) and not schedule.relative:
        told["interval"] = schedule.run_every.total_seconds() or None
    return told


def _says_when(schedule: Any) -> bool:
    """Whether `remaining_estimate` speaks for `is_due`: not where a user has replaced only the latter."""
    judge, teller = (owner_of(schedule.__class__, name) for name in ("is_due", "remaining_estimate"))
    if judge is None or teller is None:
        return False
    return judge.__module__.startswith(("celery.", "django_celery_beat.")) or issubclass(teller, judge)


def _later(schedule: Any, due: float) -> tuple[float, ...]:
    found: list[float] = []
    last = due
    while len(found) < MAX_DUE:
        following = due_after(schedule, datetime.fromtimestamp(last, timezone.utc))
        if following is None or not last + _LEAST_DISTANCE <= following <= due + HORIZON:
            break
        found.append(moment(following))
        last = following
    return tuple(found)
