"""What a scheduler (beat, RQ's cron) tells about each of its schedules: key names and the JSON in them.

One Redis hash per scheduler, named by `key_of` and listed in the set `INDEX`: a field for each
schedule, by its name. All times are unix time in seconds on the scheduler's clock.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX: Final = "otel-taskqueue:schedule:"
#: The keys of all hashes, so that nobody has to scan for them.
INDEX: Final = PREFIX + "index"
#: Below it, what each observer remembers of the schedules that it has judged.
JUDGED: Final = PREFIX + "judged:"

#: Schedules that one scheduler tells about, the first ones by name.
MAX_SCHEDULES: Final = 1000
#: Latest runs that are kept of each schedule: what an observer may read in one look.
MAX_RUNS: Final = 20
#: Due times that are told of a schedule without a fixed interval, all of them within `HORIZON`.
MAX_DUE: Final = 60
#: Seconds for which an overdue schedule is kept: when nobody writes it any more, it is gone.
HORIZON: Final = 86400.0
_LONGEST: Final = 32 * 86400.0
_MAX_NAME: Final = 255


class Run(NamedTuple):
    """One run of a schedule: when it was due and when its job was enqueued."""

    due: float
    ran: float


class Schedule(NamedTuple):
    """One schedule as its scheduler tells it; what is unknown is None.

    Args:
        name: Of the schedule, unique within its scheduler.
        task: What it enqueues.
        interval: Seconds between two runs; None where that is not fixed.
        crontab: The five fields ``minute hour day month weekday``.
        timezone: In which these are meant.
        last_run: When its job was last enqueued.
        next_due: When it is due next, as the scheduler itself has calculated.
        tentative: At ``next_due`` the scheduler only looks again, by rules that nobody else knows: if it
            then decides on a later time, nothing was missed.
        later: What is due after that, as far as it is within a day, for schedules without an interval.
        runs: The latest runs, oldest first.
        written_at: When all of this was true.
    """

    name: str
    task: str
    interval: float | None = None
    crontab: str | None = None
    timezone: str | None = None
    last_run: float | None = None
    next_due: float | None = None
    tentative: bool = False
    later: tuple[float, ...] = ()
    runs: tuple[Run, ...] = ()
    written_at: float = 0.0

    def ran(self, due: float | None, at: float) -> Schedule:
        """The schedule after one more run; ``due`` None: nobody knew when it should be."""
        runs = self.runs if due is None else (*self.runs, Run(moment(due), moment(at)))
        return self._replace(last_run=moment(at), runs=runs[-MAX_RUNS:])


def key_of(system: str, scheduler: str) -> str:
    """The hash of one scheduler; its name must be the same after a restart."""
    return f"{PREFIX}{system}:{cut(scheduler)}"


def system_of(key: str) -> str:
    """The ``taskqueue.system`` of a hash."""
    return key.removeprefix(PREFIX).partition(":")[0]


def to_json(schedule: Schedule) -> str:
    """The value of a field; what is unknown is left out."""
    told = {name: value for name, value in schedule._asdict().items() if not _unsaid(value)}
    return json.dumps(told, separators=(",", ":"))


def from_json(text: str | bytes) -> Schedule | None:
    """Read a field; None for what is not one of ours (or of a version that wrote it otherwise)."""
    try:
        told: Any = json.loads(text)
        return _read(cast("dict[str, Any]", told))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _read(told: dict[str, Any]) -> Schedule:
    return Schedule(
        name=str(told["name"]),
        task=str(told["task"]),
        interval=_number(told.get("interval")),
        crontab=told.get("crontab"),
        timezone=told.get("timezone"),
        last_run=_number(told.get("last_run")),
        next_due=_number(told.get("next_due")),
        tentative=bool(told.get("tentative")),
        later=tuple(float(due) for due in told.get("later", ())),
        runs=tuple(Run(float(due), float(ran)) for due, ran in told.get("runs", ())),
        written_at=float(told.get("written_at", 0.0)),
    )


def seconds_kept(schedules: Iterable[Schedule], now: float) -> int:
    """How long the hash stays when nobody writes it any more: a day longer than anything is due."""
    last = max((schedule.next_due or now for schedule in schedules), default=now)
    return int(HORIZON + min(max(last - now, 0.0), _LONGEST))


def moment(value: float) -> float:
    """A time as it is written: milliseconds are enough."""
    return round(value, 3)


def cut(name: str) -> str:
    """A name of bounded length."""
    return name[:_MAX_NAME]


def _unsaid(value: Any) -> bool:
    return value is None or value is False or value == ()


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
