"""Readings as a table for people; what is not known is a dash."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from otel_taskqueue import meters, semconv
from otel_taskqueue.cli import document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_taskqueue.observe.readings import Reading

_STATES = ("ready", "reserved", "scheduled", "deferred", "failed")
_HEAD = ("queue", *_STATES, "oldest", "workers")
_WIDTH = 200


class TableOutput:
    """Prints what was seen."""

    def __init__(self) -> None:
        self._shown: dict[int, Sequence[Reading]] = {}

    def show(self, place: int, readings: Sequence[Reading]) -> None:
        """What one source saw."""
        self._shown[place] = readings

    def send(self) -> None:
        """Print it."""
        readings = [reading for shown in self._shown.values() for reading in shown]
        print(time.strftime("%Y-%m-%d %H:%M:%S"))
        print("\n\n".join(filter(None, (queues(readings), workers(readings), schedules(readings)))))
        print(flush=True)
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing is kept."""


def queues(readings: Iterable[Reading]) -> str:
    """One line for each queue."""
    rows: dict[str, dict[str, str]] = {}
    for reading in readings:
        name = reading.attributes.get(semconv.MESSAGING_DESTINATION_NAME)
        if name is None or reading.metric not in _COLUMNS:
            continue
        column = reading.attributes.get(semconv.QUEUE_STATE) or _COLUMNS[reading.metric]
        is_time = reading.metric is meters.QUEUE_OLDEST_AGE
        rows.setdefault(name, {})[column] = seconds(reading.value) if is_time else f"{reading.value:g}"
    lines = [
        (name, *(cells.get(column, "-") for column in _HEAD[1:])) for name, cells in sorted(rows.items())
    ]
    return document.plain_table(_HEAD, lines, _WIDTH) if lines else "no queue is known"


def workers(readings: Iterable[Reading]) -> str:
    """One line for each worker."""
    lines = sorted(
        (reading.attributes[semconv.WORKER_NAME], seconds(reading.value))
        for reading in readings
        if reading.metric is meters.HEARTBEAT_AGE
    )
    return document.plain_table(("worker", "last heartbeat"), lines, _WIDTH) if lines else ""


def schedules(readings: Iterable[Reading]) -> str:
    """One line for each schedule."""
    lines = sorted(
        (reading.attributes[semconv.SCHEDULE_NAME], f"{seconds(time.time() - reading.value)} ago")
        for reading in readings
        if reading.metric is meters.SCHEDULE_LAST_RUN
    )
    return document.plain_table(("schedule", "last run"), lines, _WIDTH) if lines else ""


def seconds(value: float) -> str:
    """A duration in words of one glance: 0.4 s, 12 s, 3 min, 5.2 h."""
    for size, unit, digits in ((86400, "d", 1), (3600, "h", 1), (120, "min", 0)):
        if value >= size:
            return f"{value / (60 if unit == 'min' else size):.{digits}f} {unit}"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"  # noqa: PLR2004


_COLUMNS = {meters.QUEUE_SIZE: "", meters.QUEUE_OLDEST_AGE: "oldest", meters.QUEUE_WORKERS: "workers"}
