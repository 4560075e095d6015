"""Which Celery workers live: they send a heartbeat event every two seconds, and one when they stop.

Listening costs the broker nothing but the delivery. A worker started with `--without-heartbeat` is not
seen. The age counts from the arrival here, so that a worker's wrong clock does not matter.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_taskqueue import semconv
from otel_taskqueue.observe.celery_app import connect
from otel_taskqueue.observe.readings import Look
from otel_taskqueue.observe.seen import LastSeen

if TYPE_CHECKING:
    from otel_taskqueue.observe.target import Target

_LIVING = frozenset({"worker-online", "worker-heartbeat"})
#: Seconds between two tries to listen again, and between two questions whether to stop.
_PAUSE = 5.0
_STEP = 0.5
_HEARTBEAT = 10.0


class CeleryEvents(threading.Thread):
    """Listens on a connection of its own until it is closed."""

    def __init__(self, app: Any, target: Target) -> None:
        super().__init__(name="otel-taskqueue-events", daemon=True)
        self._app = app
        self._target = target
        self._seen = LastSeen(semconv.CELERY)
        self._stopped = threading.Event()

    def read(self, now: float) -> Look:
        """The age of each worker's last event."""
        return Look(list(self._seen.readings(now)), 0)

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        self.join(2 * _STEP)

    def alive(self, now: float, within: float) -> set[str]:
        """Workers heard within the last seconds."""
        return self._seen.names(now - within)

    def run(self) -> None:
        """Listen; a broker that is away is the loop's business to tell."""
        with suppress_instrumentation():
            while not self._stopped.is_set():
                try:
                    self._listen()
                except Exception:  # noqa: BLE001  (each transport has its own errors)
                    self._stopped.wait(_PAUSE)

    def _listen(self) -> None:
        with connect(self._app, self._target, heartbeat=_HEARTBEAT) as connection:
            connection.default_channel.sweep_bindings = _leave_it_to_workers
            # Made for its queue alone: named, bound and expiring as the application configures it.
            receiver = self._app.events.Receiver(connection, routing_key="worker.#", app=self._app)
            with connection.Consumer(
                queues=[receiver.queue], callbacks=[self._receive], no_ack=True, accept=receiver.accept
            ):
                beat = time.monotonic()
                while not self._stopped.is_set():
                    _drain(connection)
                    if time.monotonic() - beat > _HEARTBEAT / 4:
                        connection.heartbeat_check()
                        beat = time.monotonic()

    def _receive(self, body: Any, _message: Any) -> None:
        events = cast("list[Any]", body if isinstance(body, list) else [body])
        for event in events:
            name, kind = event.get("hostname"), event.get("type")
            if name and kind in _LIVING:
                self._seen.seen(str(name), time.time())
            elif name and kind == "worker-offline":
                self._seen.gone(str(name))


def _leave_it_to_workers(*_args: Any, **_options: Any) -> int:
    """What kombu 5.7 does each minute on Redis: clean up after consumers that are gone."""
    return 0


def _drain(connection: Any) -> None:
    try:
        connection.drain_events(timeout=_STEP)
    except socket.timeout:  # noqa: UP041  (an alias of TimeoutError only since Python 3.10)
        return
