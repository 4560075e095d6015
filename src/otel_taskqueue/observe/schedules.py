"""The schedules of beat and RQ's cron, as they tell about them in Redis: last runs, delays, missed runs.

Each look costs one command, one for each scheduler (not for each schedule), and at most four to
remember what was judged, so that the next leader does not count it again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from otel_taskqueue import meters
from otel_taskqueue.core.schedule import HORIZON, INDEX, JUDGED, Schedule, from_json, system_of
from otel_taskqueue.observe.judge import GRACE, Memory, judge
from otel_taskqueue.observe.judge import is_gone as _is_gone
from otel_taskqueue.observe.readings import Look
from otel_taskqueue.observe.redis_batch import Batch, text
from otel_taskqueue.observe.schedule_readings import ScheduleReadings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_taskqueue.observe.readings import Reading

#: Schedulers that are looked at, the first ones by key.
_MAX_SCHEDULERS: Final = 32
#: The field with the time up to which everything is judged.
_SINCE: Final = ""

Memories = dict[str, Memory]


class Schedules:
    """The schedules of one library.

    Args:
        client: Of the Redis in which they are told.
        system: `semconv.CELERY` or `semconv.RQ`.
        observer: Names those of whom one leads: they share their memory.
        remember: Whether this look is one of a leader's; otherwise nothing is written.
        grace: Seconds that a run may be late.
    """

    def __init__(
        self, client: Any, system: str, observer: str, *, remember: bool = True, grace: float = GRACE
    ) -> None:
        self._client = client
        self._system = system
        self._key = JUDGED + observer
        self._remember = remember
        self._grace = grace
        self._since = 0.0
        self._memories: Memories | None = None

    def read(self, now: float) -> Look:
        """All schedules. Raises what redis-py raises."""
        batch = Batch(self._client)
        if self._memories is None:
            self._since, self._memories = self._recall(batch, now)
        memories: Memories = {}
        readings = list(self._judged(dict(self._told(batch, now)), memories, now))
        self._since = max(self._since, now - self._grace)
        self._write(batch, memories)
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
        members = batch.run([("SMEMBERS", INDEX)])[0] or ()
        keys = sorted(key for key in map(text, members) if system_of(key) == self._system)[:_MAX_SCHEDULERS]
        hashes: list[dict[Any, Any] | None] = batch.run([("HGETALL", key) for key in keys])
        for key, found in zip(keys, hashes, strict=True):
            for value in (found or {}).values():
                schedule = from_json(value)
                if schedule is not None and not _is_gone(schedule, now):
                    yield f"{key}:{schedule.name}", schedule
        self._forget(batch, [key for key, found in zip(keys, hashes, strict=True) if found == {}])

    def _forget(self, batch: Batch, expired: list[str]) -> None:
        if expired and self._remember:
            batch.run([("SREM", INDEX, *expired)])

    def _recall(self, batch: Batch, now: float) -> tuple[float, Memories]:
        """What the leader before has judged; what is a day old is not taken up again."""
        stored: dict[Any, Any] = batch.run([("HGETALL", self._key)])[0] or {}
        found = {text(name): value for name, value in stored.items()}
        since = _number(found.pop(_SINCE, None))
        memories = {name: memory for name, value in found.items() if (memory := _memory(value)) is not None}
        return max(since, now - HORIZON), memories

    def _write(self, batch: Batch, memories: Memories) -> None:
        before, self._memories = self._memories or {}, memories
        if not self._remember or not (memories or before):
            return
        changed = {name: memory for name, memory in memories.items() if before.get(name) != memory}
        fields = [part for name, memory in changed.items() for part in (name, json.dumps(memory))]
        gone = [name for name in before if name not in memories]
        commands: list[tuple[Any, ...]] = [("HDEL", self._key, *gone)] if gone else []
        commands.append(("HSET", self._key, _SINCE, self._since, *fields))
        commands.append(("EXPIRE", self._key, int(HORIZON)))
        batch.run(commands)


def _memory(value: Any) -> Memory | None:
    try:
        due, run = cast("tuple[list[float], float]", json.loads(value))
        return Memory(tuple(float(time) for time in due), float(run))
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
