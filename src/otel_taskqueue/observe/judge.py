"""What became of each time at which a schedule was due: it ran, it ran late, or it was missed.

A due time counts as missed when `GRACE` seconds later no run had come at it or after it; it is judged
once. Between two looks a scheduler may be restarted and forget what it had missed: what was known to
be due is therefore kept until it is judged.
"""

from __future__ import annotations

from itertools import chain, count, takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_taskqueue.core.schedule import HORIZON

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_taskqueue.core.schedule import Schedule

#: Seconds that a run may be late before it counts as missed; also what clocks may differ.
GRACE: Final = 60.0
#: Seconds by which a run may seem to come early: times are rounded, and beat wakes up 10 ms early.
_EARLY: Final = 0.1
#: Due times that lie closer together than this (s) are one, told twice.
_SAME: Final = 0.1
_MAX_KEPT: Final = 64
_MAX_JUDGED: Final = 1000


class Memory(NamedTuple):
    """What is kept of one schedule: due times that are not judged yet, and the latest run seen (unix s)."""

    due: tuple[float, ...] = ()
    run: float = 0.0


class Verdict(NamedTuple):
    """What one look found out: due times newly missed, and seconds that each new run was late."""

    memory: Memory
    missed: int
    lags: tuple[float, ...]


def judge(schedule: Schedule, before: Memory | None, since: float, now: float, grace: float) -> Verdict:
    """Judge what was due after ``since`` and, with the grace, before ``now``.

    Args:
        schedule: As its scheduler tells it now.
        before: What was kept of it; None at its first sight: older runs are not told again then.
        since: Unix time up to which everything is judged.
        now: Unix time.
        grace: Seconds.
    """
    kept, seen = before if before is not None else Memory(run=now - grace)
    last_run = schedule.last_run or 0.0
    overdue = [
        due
        for due in _distinct(chain((due for due in kept if due <= now), _due(schedule, since, now)))
        if due > since and last_run < due - _EARLY
    ]
    missed = [due for due in overdue if due <= now - grace]
    waiting = [*overdue[len(missed) :], *_next(schedule, now)]
    lags = tuple(max(run.ran - run.due, 0.0) for run in schedule.runs if run.ran > seen)
    latest = max((seen, *(run.ran for run in schedule.runs)))
    return Verdict(Memory(tuple(waiting[:_MAX_KEPT]), latest), len(missed), lags)


def is_gone(schedule: Schedule, now: float) -> bool:
    """Whether nobody has written it for a day after it was due: its scheduler was taken away."""
    return now - max(schedule.written_at, schedule.next_due or 0.0) > HORIZON


def _due(schedule: Schedule, since: float, now: float) -> Iterator[float]:
    """When it was due up to now, as far as it is known."""
    first = schedule.next_due
    if first is None:
        return iter(())
    if schedule.interval is None or schedule.interval <= 0 or schedule.tentative:
        return takewhile(lambda due: due <= now, (first, *schedule.later))
    step = max(schedule.interval, (now - max(first, since)) / _MAX_JUDGED, 0.001)
    skipped = max(0, int((since - first) // step))
    return takewhile(lambda due: due <= now, (first + step * number for number in count(skipped)))


def _next(schedule: Schedule, now: float) -> tuple[float, ...]:
    following = schedule.next_due
    if following is None or following <= now or schedule.tentative:
        return ()
    return (following,)


def _distinct(times: Iterable[float]) -> Iterator[float]:
    last = float("-inf")
    for time in sorted(times):
        if time - last >= _SAME:
            yield time
            last = time
