"""Metric readers across a real fork: no inherited sum is exported, no inherited lock is waited for."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)

from otel_taskqueue.core import delivery, forks, telemetry
from otel_taskqueue.core.sdk import metric_readers
from support.wait import wait_for

NEVER, OFTEN = 60_000, 50


class Exporter(MetricExporter):
    """Keeps what it gets; waits in each export while ``gate`` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.sums: list[dict[str, float]] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> Any:  # noqa: ARG002
        """Take the sums of all counters."""
        self.entered.set()
        self.gate.wait(30)
        found = [
            metric for scope in metrics_data.resource_metrics[0].scope_metrics for metric in scope.metrics
        ]
        self.sums.append({metric.name: sum(p.value for p in metric.data.data_points) for metric in found})
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Nothing waits."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Nothing is held."""


class Parent:
    """A provider that measures and exports."""

    def __init__(self, interval: float) -> None:
        self.exporter = Exporter()
        self.reader = PeriodicExportingMetricReader(self.exporter, interval)
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = self.provider.get_meter("shop")
        self.counter = self.meter.create_counter("orders")
        self.counter.add(5)


def in_child(call: Callable[[], Any]) -> Any:
    """Call this in a forked process; its result, at most ten seconds later."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(write)
    try:
        assert select.select([read], [], [], 10)[0], "the child hangs"
        answer = os.read(read, 65536)
        assert answer, "the child failed"
        return json.loads(answer)
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture(params=[NEVER, OFTEN], ids=["never", "often"])
def parent(request: pytest.FixtureRequest) -> Iterator[Parent]:
    """A parent that has counted five."""
    made = Parent(request.param)
    yield made
    made.exporter.gate.set()
    made.provider.shutdown()


@pytest.fixture
def exporting(parent: Parent) -> Parent:
    """A parent which is in the middle of an export, with its lock."""
    parent.exporter.gate.clear()
    threading.Thread(target=parent.reader.collect, daemon=True).start()
    assert parent.exporter.entered.wait(5)
    return parent


def test_a_muted_child_answers_at_once_and_exports_nothing(exporting: Parent) -> None:
    """Flush, collect and shutdown, whatever lock was held, for many intervals."""

    def child() -> Any:
        metric_readers.mute([exporting.provider])
        exporting.exporter.gate.set()
        started = time.monotonic()
        exporting.counter.add(1)
        flushed = exporting.provider.force_flush()
        exporting.reader.collect()
        exporting.provider.shutdown()
        took = time.monotonic() - started
        time.sleep(6 * OFTEN / 1000)
        return {"flushed": flushed, "exports": len(exporting.exporter.sums), "took": took}

    answer = in_child(child)
    assert answer.pop("took") < 0.5
    assert answer == {"flushed": True, "exports": 0}


@pytest.mark.parametrize("muted", [True, False])
def test_a_fresh_child_exports_what_it_measured_itself(exporting: Parent, *, muted: bool) -> None:
    """By the clock, by a flush and at its shutdown; not the five of its parent, muted before or not."""

    def child() -> Any:
        if muted:
            metric_readers.mute([exporting.provider])
        metric_readers.start_afresh([exporting.provider])
        exporting.exporter.gate.set()
        exporting.counter.add(1)
        exporting.provider.force_flush()
        exporting.counter.add(1)
        exporting.provider.shutdown()
        return [found["orders"] for found in exporting.exporter.sums]

    sums = in_child(child)
    assert set(sums) == {1, 2}
    assert sums[-1] == 2


def test_the_thread_that_the_sdk_starts_in_a_child_does_nothing() -> None:
    """It may run before the child is muted; the parent's own goes on."""
    parent = Parent(1)
    metric_readers.guard([parent.provider])

    def child() -> Any:
        parent.exporter.sums.clear()
        time.sleep(0.1)
        return parent.exporter.sums

    assert in_child(child) == []
    seen = len(parent.exporter.sums)
    wait_for(lambda: len(parent.exporter.sums) > seen, 5, "the parent exports")
    parent.provider.shutdown()


@pytest.mark.parametrize("guarded", [True, False])
def test_a_fresh_child_exports_by_the_clock_with_one_thread(*, guarded: bool) -> None:
    """The thread that the SDK had started before ends by itself; both would export twice as often."""
    parent = Parent(OFTEN)
    if guarded:
        metric_readers.guard([parent.provider])

    def child() -> Any:
        metric_readers.mute([parent.provider])
        metric_readers.start_afresh([parent.provider])
        time.sleep(4 * OFTEN / 1000)
        parent.counter.add(1)
        names = [t.name for t in threading.enumerate() if t.name == "OtelPeriodicExportingMetricReader"]
        deadline = time.monotonic() + 5
        while {"orders": 1} not in parent.exporter.sums and time.monotonic() < deadline:
            time.sleep(0.01)
        return [len(names), parent.exporter.sums[-1:]]

    assert in_child(child) == [1, [{"orders": 1}]]
    parent.provider.shutdown()


@pytest.mark.parametrize("where", ["consumer", "storage", "instrument", "aggregation", "meter", "provider"])
def test_no_lock_of_the_parent_stops_a_child_from_measuring(where: str) -> None:
    """Each lock of the SDK on the way of a measurement, and of a new instrument, was held at the fork."""
    parent = Parent(NEVER)
    consumer = parent.provider._measurement_consumer
    storage = consumer._reader_storages[parent.reader]
    match = storage._instrument_view_instrument_matches[parent.counter][0]
    lock = {
        "consumer": consumer._lock,
        "storage": storage._lock,
        "instrument": match._lock,
        "aggregation": next(iter(match._attributes_aggregation.values()))._lock,
        "meter": parent.meter._instrument_ids_lock,
        "provider": parent.provider._meter_lock,
    }[where]
    holder = threading.Thread(target=lock.acquire)
    holder.start()
    holder.join()

    def child() -> Any:
        metric_readers.mute([parent.provider])
        parent.counter.add(1)
        parent.provider.get_meter("new").create_counter("new").add(1)
        parent.meter.create_counter("other").add(1)
        metric_readers.start_afresh([parent.provider])
        parent.counter.add(2)
        parent.provider.force_flush()
        return parent.exporter.sums

    assert in_child(child) == [{"orders": 2}]


def test_an_instrument_that_was_just_being_made_can_be_made() -> None:
    """The fork came between the two steps of another thread."""
    parent = Parent(NEVER)
    parent.meter._instrument_ids["half,_Counter,,"] = None
    with pytest.raises(KeyError):
        parent.meter.create_counter("half")
    metric_readers.mute([parent.provider])
    parent.meter.create_counter("half").add(1)


def test_every_kind_of_reader_is_muted() -> None:
    """One that a test or a scrape asks, one without a thread."""
    in_memory = InMemoryMetricReader()
    asleep = PeriodicExportingMetricReader(Exporter(), float("inf"))
    provider = MeterProvider([in_memory, asleep], shutdown_on_exit=False)
    provider.get_meter("shop").create_counter("orders").add(1)
    metric_readers.mute([provider])
    assert in_memory.get_metrics_data() is None
    asleep.collect()
    metric_readers.start_afresh([provider])
    provider.get_meter("shop").create_counter("orders").add(2)
    metric = in_memory.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0]
    assert [point.value for point in metric.data.data_points] == [2]


def test_an_sdk_that_hides_its_parts_is_left_alone() -> None:
    """Nothing is muted, nothing fails."""
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    del provider._measurement_consumer
    assert metric_readers.consumer_of(provider) is None
    assert metric_readers.of(provider) == []
    metric_readers.mute([provider])
    metric_readers.start_afresh([provider])


def test_what_a_worker_s_parent_forks_is_muted_in_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the interpreter's hook, whoever forks: nothing has to be called in the child."""
    parent = Parent(NEVER)
    monkeypatch.setattr(forks, "_given", [])
    monkeypatch.setattr(delivery, "_dropped", Counter(logs=3))
    forks.watch(telemetry.make(meter_provider=parent.provider))

    def child() -> Any:
        parent.provider.force_flush()
        muted = forks.is_muted()
        forks.start_afresh(telemetry.make(meter_provider=parent.provider))
        parent.counter.add(1)
        parent.provider.force_flush()
        return [muted, forks.is_fresh(), parent.exporter.sums]

    assert in_child(child) == [True, True, [{"orders": 1}]]
    parent.provider.force_flush()
    assert parent.exporter.sums == [{"orders": 5, "taskqueue.telemetry.dropped": 3}]
    assert not forks.is_muted()
