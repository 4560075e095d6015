"""Queues on RabbitMQ: what a passive declaration answers, and what the management API adds to it.

Each look costs one declaration for each queue, and one HTTP request where there is a management API.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound, ResourceLocked

from otel_taskqueue import semconv
from otel_taskqueue.observe.queue_readings import READY, RESERVED, QueueState
from otel_taskqueue.observe.readings import Look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_taskqueue.observe.management import Management


class CeleryOnRabbit:
    """``connect`` gives a connection of kombu, connected, without heartbeat."""

    def __init__(
        self, connect: Callable[[], Any], queues: Sequence[str], management: Management | None
    ) -> None:
        self._connect = connect
        self._connection: Any = None
        self._queues = queues
        self._management = management
        self._channel: Any = None

    def read(self, now: float) -> Look:
        """All queues that exist. Raises what py-amqp raises, and connects anew the next time."""
        try:
            found = [self._state(queue, now) for queue in self._queues]
        except Exception:
            self.close()
            raise
        states = [state for state, _ in found if state is not None]
        readings = [reading for state in states for reading in state.readings("rabbitmq", semconv.CELERY)]
        return Look(readings, sum(commands for _, commands in found))

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.collect()

    def _state(self, queue: str, now: float) -> tuple[QueueState | None, int]:
        declared = self._declared(queue)
        if declared is None:
            return None, 1
        _, ready, workers = declared
        state = QueueState(queue, {READY: ready}, 0.0 if ready == 0 else None, workers)
        if self._management is None or not self._management.usable():
            return state, 1
        return _completed(state, self._management.queue(queue), now), 2

    def _declared(self, queue: str) -> tuple[str, int, int] | None:
        if self._connection is None:
            self._connection = self._connect()
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        try:
            return self._channel.queue_declare(queue=queue, passive=True)
        except (NotFound, ResourceLocked):  # closes the channel
            with contextlib.suppress(Exception):
                self._channel.close()
            self._channel = None
            return None


def _completed(state: QueueState, row: dict[str, Any], now: float) -> QueueState:
    """With the unacknowledged messages, and the time that our publish set on the oldest one."""
    reserved, head = row.get("messages_unacknowledged"), row.get("head_message_timestamp")
    if isinstance(reserved, int):
        state = state._replace(sizes={**state.sizes, RESERVED: reserved})
    if state.oldest_age is None and isinstance(head, (int, float)) and head:
        state = state._replace(oldest_age=max(0.0, now - head))
    return state
