"""RQ's scheduler (`enqueue_at`, `enqueue_in`, retries with a pause): one schedule for each queue.

It has no runs of its own, it looks every second. Its last run is its heartbeat; its delay is that of the
oldest job which is overdue, once for each look; and a job that is still there a minute after it was
due has been missed. Each look costs at most four commands for each queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rq.registry import ScheduledJobRegistry
from rq.scheduler import RQScheduler

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.judge import GRACE
from otel_taskqueue.observe.readings import Look
from otel_taskqueue.observe.redis_batch import Batch, text
from otel_taskqueue.observe.rq_workers import unix
from otel_taskqueue.observe.schedule_readings import ScheduleReadings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otel_taskqueue.observe.readings import Reading

_NAME: Final = "rq-scheduler:"
_HASH: Final = "rq:scheduler:"
#: Seconds for which the lock of a scheduler that looks every second (RQ's default) is taken.
_LOCKED: Final = 61.0


class RQSchedulers:
    """``queues`` gives the names to look at, for commands of the batch."""

    def __init__(
        self, client: Any, queues: Callable[[Batch], Sequence[str]], *, grace: float = GRACE
    ) -> None:
        self._client = client
        self._queues = queues
        self._grace = grace
        self._since: float | None = None
        self._heartbeats: dict[str, float] = {}

    def read(self, now: float) -> Look:
        """All queues. Raises what redis-py raises."""
        batch = Batch(self._client)
        readings = ScheduleReadings(semconv.RQ)
        until = now - self._grace
        since = until if self._since is None else min(self._since, until)
        found = [
            reading
            for queue in self._queues(batch)
            for reading in self._queue(batch, queue, readings, since, now)
        ]
        self._since = until
        return Look([*found, *readings.of_all()], batch.commands)

    def close(self) -> None:
        """The connection belongs to whoever opened it."""

    def _queue(
        self, batch: Batch, queue: str, readings: ScheduleReadings, since: float, now: float
    ) -> Iterator[Reading]:
        registry = ScheduledJobRegistry.key_template.format(queue)
        lock = RQScheduler.get_locking_key(queue)
        first, holder = batch.run([("ZRANGE", registry, 0, 0, "WITHSCORES"), ("GET", lock)])
        if holder is not None:
            self._heartbeats[queue] = self._heartbeat(batch, text(holder), lock, now)
        heartbeat = self._heartbeats.get(queue)
        if heartbeat is None and not first:
            return  # nobody schedules here
        name = _NAME + queue
        readings.last_run(name, heartbeat)
        due = float(first[0][1]) if first else now
        readings.missed(name, self._missed(batch, registry, due, since, now))
        yield readings.one(meters.SCHEDULE_LAG, name, max(0.0, now - due))

    def _missed(self, batch: Batch, registry: str, due: float, since: float, now: float) -> int:
        if due > now - self._grace:
            return 0
        return batch.run([("ZCOUNT", registry, f"({since}", now - self._grace)])[0] or 0

    def _heartbeat(self, batch: Batch, holder: str, lock: str, now: float) -> float:
        """What the scheduler has written, else what the age of its lock says (older RQ)."""
        written = unix(batch.run([("HGET", _HASH + holder, "last_heartbeat")])[0])
        if written is not None:
            return written
        left = batch.run([("PTTL", lock)])[0]
        return now - max(0.0, _LOCKED - float(left or 0) / 1000)
