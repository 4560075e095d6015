"""Readings as instruments: gauges that vanish, counts that are recorded once, silence without a lease."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.election import Lease, clock
from otel_taskqueue.observe.readings import Reading
from otel_taskqueue.observe.report import Report


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """Collects when the test says so."""
    return InMemoryMetricReader()


@pytest.fixture
def lease() -> Lease:
    """A lease that holds."""
    return Lease(1, clock(), clock() + 60)


@pytest.fixture
def report(reader: InMemoryMetricReader, lease: Lease) -> Report:
    """The instruments."""
    return Report(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"), lease)


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """Data points by metric."""
    data = reader.get_metrics_data()
    found = data.resource_metrics[0].scope_metrics[0].metrics if data and data.resource_metrics else []
    return {metric.name: list(metric.data.data_points) for metric in found}


def size(queue: str, value: float) -> Reading:
    """The size of a queue."""
    return Reading(meters.QUEUE_SIZE, value, {semconv.MESSAGING_DESTINATION_NAME: queue})


def test_a_series_that_is_not_seen_again_vanishes(report: Report, reader: InMemoryMetricReader) -> None:
    """The next look of a source replaces what it saw; other sources keep theirs."""
    report.show(0, [size("mail", 3), size("post", 1)])
    report.show(1, [Reading(meters.HEARTBEAT_AGE, 5, {semconv.WORKER_NAME: "w"})])
    assert [3, 1] == [point.value for point in points(reader)[meters.QUEUE_SIZE.name]]
    report.show(0, [size("post", 2)])
    found = points(reader)
    assert [2] == [point.value for point in found[meters.QUEUE_SIZE.name]]
    assert [5] == [point.value for point in found[meters.HEARTBEAT_AGE.name]]
    report.show(0, [])
    assert meters.QUEUE_SIZE.name not in points(reader)


def test_without_a_lease_nothing_is_shown(report: Report, reader: InMemoryMetricReader, lease: Lease) -> None:
    """Whatever was seen before."""
    report.show(0, [size("mail", 3)])
    lease.end()
    report.show(0, [Reading(meters.SCHEDULE_MISSED, 4, {semconv.SCHEDULE_NAME: "tick"})])
    assert {} == points(reader)


def test_counts_and_observations_are_recorded_once(report: Report, reader: InMemoryMetricReader) -> None:
    """They are not repeated by the next look; lags have the boundaries of the table."""
    tick = {semconv.SCHEDULE_NAME: "tick"}
    report.show(0, [Reading(meters.SCHEDULE_MISSED, 2, tick), Reading(meters.SCHEDULE_LAG, 0.3, tick)])
    report.show(0, [Reading(meters.SCHEDULE_MISSED, 1, tick)])
    found = points(reader)
    assert [3] == [point.value for point in found[meters.SCHEDULE_MISSED.name]]
    (lag,) = found[meters.SCHEDULE_LAG.name]
    assert (1, meters.WAIT) == (lag.count, lag.explicit_bounds)
