"""Any number of observers, one leader: who may report, and until when.

A lock lives in the broker. Its holder may report until a moment on its own clock that lies before the
moment at which the broker can give the lock to another: a leader that was frozen finds its lease run
out before it can say anything. The clock goes on while the process, or the machine, sleeps.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_taskqueue.observe.errors import plain

if TYPE_CHECKING:
    from otel_taskqueue.observe.voice import Voice

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
#: Longest pause (s) between two tries while the broker is away.
_LONGEST_PAUSE = 15.0


def clock() -> float:
    """Seconds, on a clock that nobody sets and that no sleep stops."""
    return time.clock_gettime(_CLOCK)


class Held(NamedTuple):
    """A lock just taken: how often it was taken before, and seconds to keep silent.

    A broker that has lost its memory may have given the lock away while its former holder still
    believes in its lease: the new one waits until that has run out.
    """

    term: int
    silence: float


class Lock(Protocol):
    """The lock in a broker; used by one thread. Each method may raise what the broker's client raises."""

    #: Seconds which a holder may report after the start of its last renewal.
    lease: float
    #: Seconds between renewals.
    pause: float
    #: Whether a holder keeps it when its connection breaks.
    outlives_connection: bool

    def acquire(self) -> Held | float:
        """Take it, or say in how many seconds to try again."""
        ...

    def renew(self) -> bool:
        """Prolong it; False: it is another's or nobody's."""
        ...

    def release(self) -> None:
        """Give it up, if it is ours; never raises."""
        ...


@dataclass(slots=True)
class Lease:
    """One leadership: it holds from ``since`` until ``until`` (seconds of `clock`)."""

    term: int
    since: float
    until: float

    def holds(self) -> bool:
        """Whether its owner may report now."""
        return self.since <= clock() < self.until

    def end(self) -> None:
        """It is over, whatever the clock says."""
        self.until = 0.0


class Election(threading.Thread):
    """Takes the lock, keeps it, and tries again: beside the thread which looks and reports."""

    def __init__(self, lock: Lock, voice: Voice, broker: str) -> None:
        super().__init__(name="otel-taskqueue-election", daemon=True)
        self._lock = lock
        self._voice = voice
        self._broker = broker
        self._lease: Lease | None = None
        self._following = False
        self._pause = 0.5
        self._stopped = threading.Event()

    def lease(self) -> Lease | None:
        """The lease of this process while it may report."""
        lease = self._lease
        return lease if lease is not None and lease.holds() else None

    def run(self) -> None:
        """Until `stop`."""
        with suppress_instrumentation():
            while not self._stopped.wait(self._step()):
                pass
            self._lock.release()

    def stop(self, timeout: float) -> None:
        """Stop reporting at once, then give the lock up."""
        if self._lease is not None:
            self._lease.end()
        self._stopped.set()
        self.join(timeout)

    def _step(self) -> float:
        try:
            pause = self._follow() if self._lease is None else self._lead(self._lease)
        except Exception as error:  # noqa: BLE001  (each client has its own errors)
            return self._away(error)
        self._pause = 0.5
        self._voice.back(self._broker)
        return pause

    def _follow(self) -> float:
        asked = clock()
        held = self._lock.acquire()
        if not isinstance(held, Held):
            if not self._following:
                self._voice.say("another instance leads; this one waits and exports nothing")
            self._following = True
            return held
        self._following = False
        self._lease = Lease(held.term, asked + held.silence, asked + self._lock.lease)
        self._voice.say(f"this instance leads (term {held.term})")
        return self._lock.pause

    def _lead(self, lease: Lease) -> float:
        asked = clock()
        if self._lock.renew():
            lease.until = asked + self._lock.lease
            return self._lock.pause
        self._resign(lease)
        return 0.0

    def _resign(self, lease: Lease) -> None:
        lease.end()
        self._lease = None
        self._voice.say("this instance no longer leads")

    def _away(self, error: Exception) -> float:
        self._voice.away(self._broker, plain(error))
        lease = self._lease
        if lease is not None and not (self._lock.outlives_connection and lease.holds()):
            self._resign(lease)
        pause, self._pause = self._pause, min(_LONGEST_PAUSE, self._pause * 2)
        return pause
