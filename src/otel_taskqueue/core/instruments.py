"""Instruments from rows of the table `meters`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

    from otel_taskqueue.meters import Metric

    Observe = Callable[[CallbackOptions], Iterable[Observation]]


def histogram(meter: Meter, metric: Metric) -> Histogram:
    """A histogram with its own boundaries."""
    return meter.create_histogram(
        metric.name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=metric.buckets
    )


def gauge(meter: Meter, metric: Metric, observe: Observe) -> None:
    """A gauge that is asked when it is exported."""
    meter.create_observable_gauge(metric.name, [observe], metric.unit, metric.meaning)


def observable_counter(meter: Meter, metric: Metric, observe: Observe) -> None:
    """A counter that is asked when it is exported."""
    meter.create_observable_counter(metric.name, [observe], metric.unit, metric.meaning)
