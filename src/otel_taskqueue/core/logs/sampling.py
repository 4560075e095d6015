"""LOG_SAMPLING: of a share of the jobs all lines are shipped, of the others what is worth it.

Which jobs, their ids decide: all attempts and all processes agree without a word. The lines below
WARNING of the other jobs are held until the attempt has ended, and shipped when that was no success.
A relaying child hands them to the worker's parent at once, marked with the attempt's serial: so they
survive its death, and the parent, which hears how the attempt ended, lets them pass or drops them.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import context

from otel_taskqueue import semconv
from otel_taskqueue.core import delivery
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.relay import channel
from otel_taskqueue.semconv import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from otel_taskqueue.core.attempts import Attempt
    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.job import Current

    Ship = Callable[[logging.LogRecord], None]

#: Lines of one attempt that are held; the oldest drop.
MOST: Final = 1000
#: Jobs whose lines are held here at the same time; those of the oldest drop.
_JOBS: Final = 4096


class Line(NamedTuple):
    """A held line: the record's copy, what ships it, and the context in which that happens."""

    record: logging.LogRecord
    ship: Ship
    context: Context


class Held:
    """The held lines of one job."""

    __slots__ = ("dropped", "lines")

    def __init__(self) -> None:
        self.lines: deque[Line] = deque()
        self.dropped = 0

    def add(self, line: Line) -> None:
        """Hold a line; the oldest drops when there are too many."""
        self.lines.append(line)
        if len(self.lines) > MOST:
            self.lines.popleft()
            self.dropped += 1


_share = 1.0
_current: Callable[[], Current | None] = lambda: None  # noqa: E731
_held: OrderedDict[str, Held] = OrderedDict()


def start(share: float, current: Callable[[], Current | None]) -> None:
    """Ship the lines of this share of the jobs; ``current`` finds the attempt that runs in a context."""
    global _share, _current
    _share, _current = share, current
    _held.clear()


def gate(record: logging.LogRecord, ship: Ship) -> None:
    """Ship the copy of a record now, or hold it until its job's attempt has ended."""
    if _share >= 1 or record.levelno >= logging.WARNING:
        ship(record)
        return
    job: str | None = vars(record).get(semconv.MESSAGING_MESSAGE_ID)
    if job is None or is_sampled(job, _share):
        ship(record)
        return
    attempt = _current()
    if attempt is not None and attempt.serial is not None and channel.is_open():
        with channel.held_for(attempt.serial):
            ship(record)
        return
    _hold(job, Line(record, ship, context.get_current()))


def is_sampled(job: str, share: float) -> bool:
    """Whether a job belongs to the share whose lines are all shipped."""
    digest = hashlib.blake2b(job.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def ended(job: str, verdict: Verdict | None) -> None:
    """An attempt has ended in this very process."""
    if _share < 1:
        _settle(job, keep=verdict is None or verdict.outcome is not Outcome.SUCCESS)


def concluded(attempt: Attempt, verdict: Verdict, *, reported: bool) -> None:
    """The parent knows how an attempt ended; ``reported``: its child's own word stands, if there is one."""
    if _share >= 1:
        return
    told = attempt.result.outcome if attempt.result is not None and reported else None
    keep = (told or verdict.outcome.value) != Outcome.SUCCESS.value
    reader = delivery.reader()
    if reader is not None:
        reader.settle_held(attempt.serial, keep=keep)
    _settle(attempt.incoming.job.id, keep=keep)


def _hold(job: str, line: Line) -> None:
    held = _held.get(job)
    if held is None:
        held = _held[job] = Held()
        if len(_held) > _JOBS:
            _held.popitem(last=False)
    held.add(line)


def _settle(job: str, *, keep: bool) -> None:
    held = _held.pop(job, None)
    if held is None or not keep:
        return
    delivery.count_dropped("logs", held.dropped)
    for line in held.lines:
        token = context.attach(line.context)
        try:
            with Guarded("log sampling", leaving=True):
                line.ship(line.record)
        finally:
            context.detach(token)
