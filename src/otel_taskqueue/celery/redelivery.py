"""Bounded memories of attempts: whose message went back to the broker, and which were finished."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from otel_taskqueue.core import carrier

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

_MOST = 1024
_MOST_FINISHED = 10_000


class Redelivered:
    """Job id -> traceparent of the attempt that gave the message back; the oldest are forgotten."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, str] = OrderedDict()

    def remember(self, job_id: str, context: SpanContext | None) -> None:
        """The message of this attempt goes back to the broker."""
        if context is None or not context.is_valid:
            return
        self._seen[job_id] = carrier.to_traceparent(context)
        self._seen.move_to_end(job_id)
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)

    def recall(self, job_id: str) -> str | None:
        """The attempt before, when this worker saw it."""
        return self._seen.pop(job_id, None)


class Finished:
    """Attempts whose message was done with; when it comes back, its acknowledgement was lost on the way."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int]] = set()
        self._order: deque[tuple[str, int]] = deque()

    def before(self, job_id: str, retries: int, *, redelivered: bool) -> bool:
        """Remember an attempt that has ended; whether this is a redelivery of one that had ended before."""
        key = (job_id, retries)
        if key in self._known:
            return redelivered
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > _MOST_FINISHED:
            self._known.discard(self._order.popleft())
        return False
