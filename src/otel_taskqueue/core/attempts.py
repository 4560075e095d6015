"""What the worker's parent knows of each attempt it handed to a child, until that attempt is settled.

An attempt is found by a serial of ours, never by its job's id: a retry brings the same id back
before the attempt that asked for it has ended.
"""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.job import JobView
    from otel_taskqueue.core.message import Incoming
    from otel_taskqueue.core.metrics import Metrics
    from otel_taskqueue.core.result import Result, Usage
    from otel_taskqueue.core.telemetry import Telemetry

_serials = itertools.count(1)
_table: dict[int, Attempt] = {}


class Pending(NamedTuple):
    """A verdict that waits for the child's announcement, with its time (unix nanoseconds)."""

    verdict: Verdict
    end_time: int


class Attempt:
    """One attempt in flight.

    ``result`` is what the child said of its end, ``usage`` what the parent measured of the child;
    ``counted``: it is in the metrics; ``requeued``: its message went back to the broker.
    ``started`` and ``ended`` hold the child's span frames as they came: None = not arrived,
    empty = the span is not recorded. ``accepted`` is the time a process took it (unix
    nanoseconds, 0 = not yet), ``pid`` that process. ``local``: it runs in this very process.
    ``told``: its span is on its way.
    """

    __slots__ = (
        "_incoming",
        "_view",
        "accepted",
        "context",
        "counted",
        "done",
        "ended",
        "local",
        "owner",
        "pending",
        "pid",
        "requeued",
        "result",
        "serial",
        "started",
        "telemetry",
        "told",
        "usage",
    )

    def __init__(self, telemetry: Telemetry, serial: int, view: Callable[[Attempt], Incoming]) -> None:
        self.telemetry = telemetry
        self._view: Callable[[Attempt], Incoming] | None = view
        self._incoming: Incoming | None = None
        self.pid: int | None = None
        self.serial = serial
        self.owner = os.getpid()
        self.started: bytes | None = None
        self.ended: bytes | None = None
        self.pending: Pending | None = None
        self.context: SpanContext | None = None
        self.result: Result | None = None
        self.usage: Usage | None = None
        self.counted = False
        self.requeued = False
        self.accepted = 0
        self.local = False
        self.done = False
        self.told = False

    @property
    def incoming(self) -> Incoming:
        """The message as the parent sees it: found only when the parent has to speak itself."""
        if self._incoming is None:
            assert self._view is not None  # noqa: S101  a settled attempt was looked at before
            self._incoming = self._view(self)._replace(serial=self.serial)
        return self._incoming._replace(pid=self.pid) if self.pid else self._incoming

    def close(self) -> None:
        """Settled: let go of the message and of the child's frames."""
        self.done = True
        self.started = self.ended = self._view = None


def open_attempt(telemetry: Telemetry, view: Callable[[Attempt], Incoming]) -> Attempt:
    """Enter an attempt into this process's table; ``view`` is called at most once, when needed."""
    serial = next(_serials)
    attempt = _table[serial] = Attempt(telemetry, serial, view)
    return attempt


def open_here(telemetry: Telemetry, incoming: Incoming) -> Attempt:
    """Enter an attempt that runs in this very process and that nobody else reports on."""
    attempt = open_attempt(telemetry, lambda _attempt: incoming)
    attempt.local = True
    attempt.accepted = time.time_ns()
    return attempt


def running(metrics: Metrics) -> list[tuple[JobView, float]]:
    """The attempts that run now and are counted there, each with its age in seconds."""
    now = time.time_ns()
    found: list[tuple[JobView, float]] = []
    for attempt in unsettled():
        if attempt.accepted and attempt.telemetry.metrics is metrics:
            try:
                job = attempt.incoming.job
            except AssertionError:
                continue  # settled meanwhile
            if not attempt.telemetry.excluded(job.task):
                found.append((job, max(0, now - attempt.accepted) / 1e9))
    return found


def find(serial: int) -> Attempt | None:
    """The attempt that is not settled yet."""
    return _table.get(serial)


def unsettled() -> list[Attempt]:
    """All attempts which this process opened and has not settled."""
    return [attempt for attempt in list(_table.values()) if attempt.owner == os.getpid()]


def pending() -> list[Attempt]:
    """The attempts whose verdict waits for the child's announcement."""
    return [attempt for attempt in unsettled() if attempt.pending is not None and not attempt.local]


def claim(serial: int | None) -> Attempt | None:
    """The attempt when it runs in the very process that opened it (threads, gevent, solo)."""
    if serial is None:
        return None
    attempt = _table.get(serial)
    return attempt if attempt is not None and attempt.owner == os.getpid() else None


def settle(attempt: Attempt) -> None:
    """Take the attempt out of the table; nothing is said about it any more."""
    attempt.close()
    _table.pop(attempt.serial, None)


def first_told(attempt: Attempt) -> bool:
    """Whether its span is not on its way yet; it is from here on. Asked by one thread alone."""
    told, attempt.told = attempt.told, True
    return not told


def forget() -> None:
    """In a child: the parent's attempts are none of ours."""
    _table.clear()
