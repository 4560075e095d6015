"""In a child that runs jobs: what its instruments measure goes to the worker's parent (D4).

Taken where the SDK's instruments hand their measurements in, so that it holds for each instrument,
made before or after the fork, and no view or reader of the child sees anything.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.relay import channel
from otel_taskqueue.core.sdk import metric_readers

if TYPE_CHECKING:
    from collections.abc import Sequence


def hand_over(providers: Sequence[Any]) -> None:
    """From here on the instruments of these providers speak to the parent."""
    for index, provider in enumerate(providers):
        consumer = metric_readers.consumer_of(provider)
        if consumer is not None:
            consumer.consume_measurement = functools.partial(_measure, index)


def _measure(index: int, measurement: Any) -> None:
    lane = channel.current()
    if lane is None:
        return
    with Guarded("measurements"):  # a time limit that strikes here belongs to the job, which goes on
        lane.measure(index, measurement)
