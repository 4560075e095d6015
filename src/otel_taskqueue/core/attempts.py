"""What the worker's parent knows of each attempt it handed to a child, until that attempt is settled.

An attempt is found by a serial of ours, never by its job's id: a retry brings the same id back
before the attempt that asked for it has ended.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.lifecycle import Incoming
    from otel_taskqueue.core.telemetry import Telemetry

_serials = itertools.count(1)
_table: dict[int, Attempt] = {}


class Pending(NamedTuple):
    """A verdict that waits for the child's announcement, with its time (unix nanoseconds)."""

    verdict: Verdict
    end_time: int


class Attempt:
    """One attempt in flight.

    ``started`` and ``ended`` hold the child's span frames as they came: None = not arrived,
    empty = the span is not recorded. ``accepted`` is the time a process took it (unix
    nanoseconds, 0 = not yet). ``local``: it runs in this very process.
    """

    __slots__ = (
        "accepted",
        "context",
        "done",
        "ended",
        "incoming",
        "local",
        "owner",
        "pending",
        "serial",
        "started",
        "telemetry",
    )

    def __init__(self, telemetry: Telemetry, incoming: Incoming, serial: int) -> None:
        self.telemetry = telemetry
        self.incoming = incoming
        self.serial = serial
        self.owner = os.getpid()
        self.started: bytes | None = None
        self.ended: bytes | None = None
        self.pending: Pending | None = None
        self.context: SpanContext | None = None
        self.accepted = 0
        self.local = False
        self.done = False


def open_attempt(telemetry: Telemetry, incoming: Incoming) -> Attempt:
    """Enter an attempt into this process's table."""
    serial = next(_serials)
    attempt = _table[serial] = Attempt(telemetry, incoming._replace(serial=serial), serial)
    return attempt


def find(serial: int) -> Attempt | None:
    """The attempt that is not settled yet."""
    return _table.get(serial)


def unsettled() -> list[Attempt]:
    """All attempts which this process opened and has not settled."""
    return [attempt for attempt in list(_table.values()) if attempt.owner == os.getpid()]


def pending() -> list[Attempt]:
    """The attempts whose verdict waits for the child's announcement."""
    return [attempt for attempt in unsettled() if attempt.pending is not None]


def claim(serial: int | None) -> Attempt | None:
    """The attempt when it runs in the very process that opened it (threads, gevent, solo)."""
    if serial is None:
        return None
    attempt = _table.get(serial)
    return attempt if attempt is not None and attempt.owner == os.getpid() else None


def settle(attempt: Attempt) -> None:
    """Take the attempt out of the table; nothing is said about it any more."""
    attempt.done = True
    attempt.started = attempt.ended = None
    _table.pop(attempt.serial, None)


def forget() -> None:
    """In a child: the parent's attempts are none of ours."""
    _table.clear()
