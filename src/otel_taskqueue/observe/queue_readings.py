"""The readings of one queue; what is not known makes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

READY, RESERVED, SCHEDULED, DEFERRED, FAILED = "ready", "reserved", "scheduled", "deferred", "failed"


class QueueState(NamedTuple):
    """What is known of one queue: jobs by state, seconds, workers; None is not known."""

    name: str
    sizes: dict[str, int]
    oldest_age: float | None = None
    workers: int | None = None

    def readings(self, system: str, library: str) -> Iterator[Reading]:
        """The same as readings."""
        attributes = {
            semconv.MESSAGING_SYSTEM: system,
            semconv.SYSTEM: library,
            semconv.MESSAGING_DESTINATION_NAME: self.name,
        }
        for state, size in self.sizes.items():
            yield Reading(meters.QUEUE_SIZE, size, {**attributes, semconv.QUEUE_STATE: state})
        if self.oldest_age is not None:
            yield Reading(meters.QUEUE_OLDEST_AGE, max(0.0, self.oldest_age), attributes)
        if self.workers is not None:
            yield Reading(meters.QUEUE_WORKERS, self.workers, attributes)
