"""The schedules of beat and RQ's cron, as they tell about them in Redis: last runs, delays, missed runs.

Each look costs one command for each scheduler (not for each schedule), and one more: to remember what was
judged, so that the next leader does not count it again, or else to find new schedulers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue import meters
from otel_taskqueue.core.schedule import INDEX, JUDGED, Schedule, from_json, system_of
from otel_taskqueue.observe.judge import GRACE, judge
from otel_taskqueue.observe.judge import is_gone as _is_gone
from otel_taskqueue.observe.readings import Look
from otel_taskqueue.observe.redis_batch import Batch, text
from otel_taskqueue.observe.schedule_memory import ScheduleMemory
from otel_taskqueue.observe.schedule_readings import ScheduleReadings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_taskqueue.observe.readings import Reading
    from otel_taskqueue.observe.schedule_memory import Memories

#: Schedulers that are looked at, the first ones by key.
_MAX_SCHEDULERS: Final = 32
#: Seconds after which new schedulers are looked for, although each look had something to write.
_FIND: Final = 300.0


class Schedules:
    """The schedules of one library.

    Args:
        client: Of the Redis in which they are told.
        system: `semconv.CELERY` or `semconv.RQ`.
        observer: Names those of whom one leads: they share their memory.
        grace: Seconds that a run may be late.
        leads: Whether this leader still is one, by its own clock; None: nobody's look, nothing is written.
    """

    def __init__(
        self,
        client: Any,
        system: str,
        observer: str,
        *,
        grace: float = GRACE,
        leads: Callable[[], bool] | None = lambda: True,
    ) -> None:
        self._client = client
        self._system = system
        self._grace = grace
        self._leads = leads
        self._memory = ScheduleMemory(JUDGED + observer)
        self._since = 0.0
        self._memories: Memories | None = None
        self._keys: list[str] = []
        self._find_at = 0.0
        self._wrote = False

    def read(self, now: float) -> Look:
        """All schedules; none when another leads meanwhile. Raises what redis-py raises."""
        batch = Batch(self._client)
        if self._memories is None and not self._begin(batch, now):
            return Look((), batch.commands)
        if not self._keys:
            self._find(batch, now)
        memories: Memories = {}
        readings = list(self._judged(dict(self._told(batch, now)), memories, now))
        since = max(self._since, now - self._grace)
        if not self._keep(batch, now, since, memories, readings):
            self._memories = None
            return Look((), batch.commands)
        self._since, self._memories = since, memories
        if self._keys and (not self._wrote or now >= self._find_at):  # for the next look
            self._find(batch, now)
        return Look(readings, batch.commands)

    def close(self) -> None:
        """The connection belongs to whoever opened it."""

    def _judged(self, told: Mapping[str, Schedule], memories: Memories, now: float) -> Iterator[Reading]:
        readings = ScheduleReadings(self._system)
        for identity, schedule in told.items():
            before = (self._memories or {}).get(identity)
            since = self._since if before is not None else now - self._grace
            verdict = judge(schedule, before, since, now, self._grace)
            memories[identity] = verdict.memory
            readings.last_run(schedule.name, schedule.last_run)
            readings.missed(schedule.name, verdict.missed)
            for lag in verdict.lags:
                yield readings.one(meters.SCHEDULE_LAG, schedule.name, lag)
        yield from readings.of_all()

    def _told(self, batch: Batch, now: float) -> Iterator[tuple[str, Schedule]]:
        keys = self._keys
        hashes: list[dict[Any, Any] | None] = batch.run([("HGETALL", key) for key in keys])
        for key, found in zip(keys, hashes, strict=True):
            for value in (found or {}).values():
                schedule = from_json(value)
                if schedule is not None and not _is_gone(schedule, now):
                    yield f"{key}:{schedule.name}", schedule
        self._forget(batch, [key for key, found in zip(keys, hashes, strict=True) if found == {}])

    def _find(self, batch: Batch, now: float) -> None:
        members = batch.run([("SMEMBERS", INDEX)])[0] or ()
        found = sorted(key for key in map(text, members) if system_of(key) == self._system)
        self._keys, self._find_at = found[:_MAX_SCHEDULERS], now + _FIND

    def _forget(self, batch: Batch, expired: list[str]) -> None:
        self._keys = [key for key in self._keys if key not in expired]
        if expired and self._leads:
            batch.run([("SREM", INDEX, *expired)])

    def _begin(self, batch: Batch, now: float) -> bool:
        """Take over what the leader before has judged.

        Who was frozen after its election and thaws here has begun a term, but sees then that it leads no
        longer; whoever leads finds itself refused and begins another.
        """
        take_over = self._memory.begin if self._leads else self._memory.read
        self._since, memories = take_over(batch, now)
        if self._leads and not self._leads():
            return False
        self._memories = memories
        return True

    def _keep(
        self, batch: Batch, now: float, since: float, memories: Memories, readings: list[Reading]
    ) -> bool:
        """Write what is new. False: a later leader has begun, and counts what was counted here."""
        counted = any(reading.metric is meters.SCHEDULE_MISSED and reading.value for reading in readings)
        stale = bool(memories) and self._memory.is_stale(now)
        new = counted or stale or memories != self._memories
        self._wrote = self._leads is not None and new
        return not self._wrote or self._memory.write(batch, now, since, memories)
