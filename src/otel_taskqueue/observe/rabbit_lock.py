"""The leader's lock on RabbitMQ: an exclusive queue, which lives as long as its owner's connection.

The broker drops a connection that has sent nothing for the negotiated heartbeat, never earlier; each
renewal is a round trip, so a holder whose last one began less than that ago still owns the queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound, ResourceLocked

from otel_taskqueue.observe.election import Held

if TYPE_CHECKING:
    from collections.abc import Callable

#: Heartbeat (s) that the connection asks for.
HEARTBEAT = 3
_POLL = 1.0


class RabbitLock:
    """``open_connection`` connects a kombu connection with a heartbeat of `HEARTBEAT`."""

    outlives_connection = False

    def __init__(self, open_connection: Callable[[], Any], name: str) -> None:
        self._open = open_connection
        self._name = name
        self._connection: Any = None
        self._channel: Any = None
        self._term = 0
        self.lease = HEARTBEAT * 0.75
        self.pause = HEARTBEAT * 0.25

    def acquire(self) -> Held | float:
        """Declare the queue; the broker refuses it to all but one."""
        try:
            self._usable_channel().queue_declare(queue=self._name, exclusive=True, auto_delete=False)
        except ResourceLocked:
            return _POLL
        except Exception:
            self._forget()
            raise
        self._term += 1
        # An operator, or the broker, may have cut off a holder which has not noticed yet.
        return Held(self._term, self.lease)

    def renew(self) -> bool:
        """One round trip on the connection that owns the queue."""
        try:
            self._channel.queue_declare(queue=self._name, passive=True)
        except NotFound:
            return False
        except Exception:
            self._forget()
            raise
        return True

    def release(self) -> None:
        """Close the connection: the queue goes with it."""
        self._forget()

    def _usable_channel(self) -> Any:
        if self._connection is None or not self._connection.connected:
            self._forget()
            self._connection = self._open()
            self._measure(self._connection.connection.heartbeat)
        if self._channel is None or not self._channel.is_open:  # a refused declaration closes it
            self._channel = self._connection.channel()
        return self._channel

    def _measure(self, negotiated: float) -> None:
        # A server may insist on less than what we ask for.
        heartbeat = min(HEARTBEAT, negotiated or HEARTBEAT)
        self.lease, self.pause = heartbeat * 0.75, heartbeat * 0.25

    def _forget(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            try:
                connection.collect()  # closes the socket; a farewell could block
            except Exception:  # noqa: BLE001  (it is thrown away)
                return
