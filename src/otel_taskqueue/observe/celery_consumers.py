"""Workers per queue of a Celery broker on Redis, which itself knows no consumers: they are asked.

All are asked first and then every few minutes (`add_consumer` and `cancel_consumer` change what they
consume; one started without heartbeat is known by its answer alone), in between only those which are
heard for the first time. One that does not answer, as a solo pool while it runs a task, keeps its last
answer while its heartbeat comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.celery_app import connect
from otel_taskqueue.observe.readings import Look, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_taskqueue.observe.celery_events import CeleryEvents
    from otel_taskqueue.observe.target import Target

#: A worker not heard for this long (s) consumes nothing; Celery's heartbeat comes every 2 s.
_ALIVE = 30.0
_ASK_ALL = 300.0
_PATIENCE = 1.0
#: Questions to one silent worker before it waits for the next round.
_TRIES = 3


class CeleryConsumers:
    """Counts the living workers of each queue."""

    def __init__(self, app: Any, target: Target, events: CeleryEvents, queues: Sequence[str]) -> None:
        self._app = app
        self._target = target
        self._events = events
        self._queues = queues
        self._known: dict[str, frozenset[str]] = {}
        self._mute: set[str] = set()
        self._tries: dict[str, int] = {}
        self._ask_all_at = 0.0

    def read(self, now: float) -> Look:
        """The number of workers of each queue; nothing while a living worker's queues are unknown."""
        alive = self._events.alive(now, _ALIVE)
        if now >= self._ask_all_at:
            self._ask_all_at = now + _ASK_ALL
            self._ask_all(alive)
        else:
            self._ask_new(alive)
        self._mute -= alive
        counted = alive | self._mute
        self._known = {name: queues for name, queues in self._known.items() if name in counted}
        if counted - self._known.keys():
            return Look((), 0)
        return Look([self._count(queue) for queue in self._queues], 0)

    def close(self) -> None:
        """There is nothing to give back."""

    def _ask_all(self, alive: set[str]) -> None:
        answers = self._ask(None)
        self._tries.clear()
        self._known.update(answers)
        self._mute = answers.keys() - alive

    def _ask_new(self, alive: set[str]) -> None:
        new = [name for name in alive - self._known.keys() if self._tries.get(name, 0) < _TRIES]
        if new:
            self._known.update(self._ask(new))
        self._tries = {name: self._tries.get(name, 0) + (name in new) for name in alive}

    def _ask(self, names: Sequence[str] | None) -> dict[str, frozenset[str]]:
        with connect(self._app, self._target) as connection:
            inspect: Any = self._app.control.inspect(
                destination=names, timeout=_PATIENCE, connection=connection
            )
            answers: dict[str, list[dict[str, Any]]] = inspect.active_queues() or {}
        return {name: frozenset(queue["name"] for queue in queues) for name, queues in answers.items()}

    def _count(self, queue: str) -> Reading:
        attributes = {
            semconv.MESSAGING_SYSTEM: "redis",
            semconv.SYSTEM: semconv.CELERY,
            semconv.MESSAGING_DESTINATION_NAME: queue,
        }
        workers = sum(queue in queues for queues in self._known.values())
        return Reading(meters.QUEUE_WORKERS, workers, attributes)
