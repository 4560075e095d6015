"""How long the end of a process waits for a collector that does not answer, beside the ends of others.

Processes of which one waits for the other (an RQ worker for its scheduler, a pool for its workers)
spend that time together, not one after the other.
"""

from __future__ import annotations

import mmap
import time
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue.core.sdk import metric_readers, providers

if TYPE_CHECKING:
    from collections.abc import Callable

#: What an end takes (s) even when another process has just waited in vain: what is sent may yet arrive.
_TRY: Final = 0.1
#: How long (s) that is remembered: a pool of RQ looks after its workers about once a second.
_FRESH: Final = 2.0


class Waits:
    """For how long the ends of processes that were forked from one another have waited in vain.

    Three times in memory that they share: when a collector answered, from when and until when none
    did. There is no lock: a time which another process has just overwritten is as good.
    """

    def __init__(self) -> None:
        self._times = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")

    def begin(self, limit: float) -> float:
        """An end begins; how long those before it, and those that still go on, have waited in vain."""
        answered, since, until = self._times[:3]
        now = time.monotonic()
        waited = max(until - max(since, answered), 0.0) if now - until < _FRESH else 0.0
        if waited < limit:  # who only tries does not let the next one try only, for ever
            self._times[1], self._times[2] = now - waited, now
        return waited

    def go_on(self, limit: float) -> None:
        """This end still waits."""
        self._times[2] = min(time.monotonic(), self._times[1] + limit)

    def answer(self) -> None:
        """A collector has answered."""
        self._times[0] = time.monotonic()

    def answered_after(self, moment: float) -> bool:
        """Whether a collector has answered, this process or another one."""
        return self._times[0] >= moment


class Patience:
    """How long (s) one end waits while nothing moves: what is left of the limit for all of them."""

    def __init__(self, limit: float, share: float = 1.0, waits: Waits | None = None) -> None:
        self._begun = time.monotonic()
        self._limit, self._all, self._waits = limit, limit * share, waits
        waited = waits.begin(limit) if waits is not None else 0.0
        self._left = max(self._all - waited, min(_TRY, self._all))

    def left(self) -> float:
        """All of it again once a collector has answered."""
        if self._waits is not None:
            self._waits.go_on(self._limit)
            if self._waits.answered_after(self._begun):
                self._left = self._all
        return self._left

    def ask(self, part: Any, call: Callable[[], Any]) -> None:
        """Call what ends or flushes a part; when it had something to say, its return is an answer."""
        waiting, exports = providers.fill(part), metric_readers.count_exports(part)
        call()
        if self._waits is not None and (exports() or (waiting is not None and waiting[0])):
            self._waits.answer()
