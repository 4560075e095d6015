"""Workers per queue of a Celery broker on Redis, which itself knows no consumers: they are asked.

All are asked first and then every few minutes (`add_consumer` and `cancel_consumer` change what they
consume; one started without heartbeat is known by its answer alone), in between only those which are
heard for the first time. One that does not answer, as a solo pool while it runs a task, keeps its last
answer while its heartbeat comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.readings import Look, Reading
from otel_taskqueue.observe.redis_batch import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_taskqueue.observe.celery_events import CeleryEvents
    from otel_taskqueue.observe.celery_inquiry import Inquiry

#: A worker not heard for this long (s) consumes nothing; Celery's heartbeat comes every 2 s.
_ALIVE = 30.0
_ASK_ALL = 300.0
#: Questions to one silent worker before it waits for the next round.
_TRIES = 3


class CeleryConsumers:
    """Counts the living workers of each queue."""

    def __init__(self, client: Any, inquiry: Inquiry, events: CeleryEvents, queues: Sequence[str]) -> None:
        self._client = client
        self._inquiry = inquiry
        self._events = events
        self._queues = queues
        self._known: dict[str, frozenset[str]] = {}
        self._mute: set[str] = set()
        self._tries: dict[str, int] = {}
        self._ask_all_at = 0.0

    def read(self, now: float) -> Look:
        """The number of workers of each queue; nothing while a living worker's queues are unknown."""
        batch = Batch(self._client)
        alive = self._events.alive(now, _ALIVE)
        if now >= self._ask_all_at:
            self._ask_all_at = now + _ASK_ALL
            self._ask_all(batch, alive)
        else:
            self._ask_new(batch, alive)
        self._mute -= alive
        counted = alive | self._mute
        self._known = {name: queues for name, queues in self._known.items() if name in counted}
        if counted - self._known.keys():
            return Look((), batch.commands)
        return Look([self._count(queue) for queue in self._queues], batch.commands)

    def close(self) -> None:
        """There is nothing to give back."""

    def _ask_all(self, batch: Batch, alive: set[str]) -> None:
        answers = self._inquiry.ask(batch, None)
        self._tries.clear()
        self._known.update(answers)
        self._mute = answers.keys() - alive

    def _ask_new(self, batch: Batch, alive: set[str]) -> None:
        new = [name for name in alive - self._known.keys() if self._tries.get(name, 0) < _TRIES]
        if new:
            self._known.update(self._inquiry.ask(batch, new))
        self._tries = {name: self._tries.get(name, 0) + (name in new) for name in alive}

    def _count(self, queue: str) -> Reading:
        attributes = {
            semconv.MESSAGING_SYSTEM: "redis",
            semconv.SYSTEM: semconv.CELERY,
            semconv.MESSAGING_DESTINATION_NAME: queue,
        }
        workers = sum(queue in queues for queues in self._known.values())
        return Reading(meters.QUEUE_WORKERS, workers, attributes)
