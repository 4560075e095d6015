"""A bounded memory of attempts whose message went back to the broker, for the link of the next one."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from otel_taskqueue.core import carrier

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

_MOST = 1024


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
