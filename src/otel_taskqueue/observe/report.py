"""Readings as instruments: a gauge shows what the last look saw, while this process leads.

Made anew for each leadership, on a meter of its own: cumulative counts must not go on where another
leader counted meanwhile.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.metrics import Observation

from otel_taskqueue import meters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter

    from otel_taskqueue.meters import Metric
    from otel_taskqueue.observe.election import Lease
    from otel_taskqueue.observe.readings import Reading

OBSERVED = (
    meters.QUEUE_SIZE,
    meters.QUEUE_OLDEST_AGE,
    meters.QUEUE_WORKERS,
    meters.HEARTBEAT_AGE,
    meters.SCHEDULE_LAST_RUN,
    meters.SCHEDULE_LAG,
    meters.SCHEDULE_MISSED,
)


class Report:
    """The instruments of one leadership."""

    def __init__(self, meter: Meter, lease: Lease) -> None:
        self._lease = lease
        self._shown: dict[int, Sequence[Reading]] = {}
        self._lock = threading.Lock()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in OBSERVED:
            self._create(meter, metric)

    def show(self, place: int, readings: Iterable[Reading]) -> None:
        """What the source at this place saw; it replaces what it saw before."""
        gauges: list[Reading] = []
        for reading in readings:
            if reading.metric.kind == "gauge":
                gauges.append(reading)
            elif self._lease.holds():
                self._record(reading)
        with self._lock:
            self._shown[place] = gauges

    def _record(self, reading: Reading) -> None:
        name = reading.metric.name
        if reading.metric.kind == "counter":
            self._counters[name].add(reading.value, dict(reading.attributes))
        else:
            self._histograms[name].record(reading.value, dict(reading.attributes))

    def _create(self, meter: Meter, metric: Metric) -> None:
        name, unit, meaning = metric.name, metric.unit, metric.meaning
        if metric.kind == "gauge":
            meter.create_observable_gauge(name, [partial(self._observe, name)], unit, meaning)
        elif metric.kind == "counter":
            self._counters[name] = meter.create_counter(name, unit, meaning)
        else:
            self._histograms[name] = meter.create_histogram(
                name, unit, meaning, explicit_bucket_boundaries_advisory=metric.buckets
            )

    def _observe(self, name: str, _: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            shown = [reading for readings in self._shown.values() for reading in readings]
        if not self._lease.holds():
            return
        for reading in shown:
            if reading.metric.name == name:
                yield Observation(reading.value, dict(reading.attributes))
