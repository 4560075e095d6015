"""When each worker was last heard, until it is told off or has been silent for an hour."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds after which a vanished worker's series ends: long enough for every alert to have fired.
FORGET = 3600.0
#: Names remembered; beyond, the one silent for longest goes.
LIMIT = 1000


class LastSeen:
    """Names with the unix time (s) of their last sign of life; used by several threads."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._times: dict[str, float] = {}
        self._lock = threading.Lock()

    def seen(self, name: str, at: float) -> None:
        """It gave a sign of life."""
        with self._lock:
            self._times[name] = max(at, self._times.get(name, 0.0))
            if len(self._times) > LIMIT:
                del self._times[min(self._times, key=self._times.__getitem__)]

    def gone(self, name: str) -> None:
        """It said goodbye: its series ends."""
        with self._lock:
            self._times.pop(name, None)

    def names(self, since: float = 0.0) -> set[str]:
        """Those heard after ``since`` (unix time)."""
        with self._lock:
            return {name for name, at in self._times.items() if at >= since}

    def readings(self, now: float) -> Iterator[Reading]:
        """The age of each one's last sign of life."""
        with self._lock:
            for name in [name for name, at in self._times.items() if now - at > FORGET]:
                del self._times[name]
            times = dict(self._times)
        for name, at in times.items():
            attributes = {semconv.SYSTEM: self._library, semconv.WORKER_NAME: name}
            yield Reading(meters.HEARTBEAT_AGE, max(0.0, now - at), attributes)
