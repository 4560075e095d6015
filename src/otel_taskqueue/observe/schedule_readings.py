"""The readings of schedules, one series for each name: at most 128, the others together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_taskqueue.meters import Metric

_MAX_NAMES: Final = 128
_OTHER: Final = "_OTHER"


class ScheduleReadings:
    """Of one library and one look.

    Schedules of one name (of several applications) are one series: the older last run, as it is the
    one that may have stopped, and the sum of what was missed.
    """

    def __init__(self, system: str) -> None:
        self._system = system
        self._last_runs: dict[str, float] = {}
        self._missed: dict[str, int] = {}

    def last_run(self, name: str, at: float | None) -> None:
        """When it last ran (unix s); None: never, as far as anybody knows."""
        name = self._series(name)
        if at is not None:
            self._last_runs[name] = min(at, self._last_runs.get(name, at))

    def missed(self, name: str, runs: int) -> None:
        """How many runs were missed since the look before."""
        name = self._series(name)
        self._missed[name] += runs

    def one(self, metric: Metric, name: str, value: float) -> Reading:
        """A reading that stands for itself."""
        attributes = {semconv.SYSTEM: self._system, semconv.SCHEDULE_NAME: self._series(name)}
        return Reading(metric, value, attributes)

    def of_all(self) -> Iterator[Reading]:
        """Last runs, and missed runs: also when there are none, so that the first one is an increase."""
        for name, at in self._last_runs.items():
            yield self.one(meters.SCHEDULE_LAST_RUN, name, at)
        for name, runs in self._missed.items():
            yield self.one(meters.SCHEDULE_MISSED, name, runs)

    def _series(self, name: str) -> str:
        if name not in self._missed and len(self._missed) >= _MAX_NAMES:
            name = _OTHER
        self._missed.setdefault(name, 0)
        return name
