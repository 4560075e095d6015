"""Measurements on their way to the parent: summed up, packed, recorded there as if measured there."""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider

from otel_taskqueue.core.relay import channel, frames, lanes, measured
from otel_taskqueue.core.relay.channel import PATIENCE, Channel
from otel_taskqueue.core.relay.measured import LONGEST_WAIT, MOST_FRAMES, MOST_VALUES, Buffer, Recorder
from otel_taskqueue.core.sdk import exit as end
from otel_taskqueue.core.sdk import measurements
from support.lanes import fill, received
from support.relay_worker import Worker

NOW = time.time_ns()


class Colour(str, enum.Enum):
    """What applications use as attributes."""

    RED = "red"


class Sides:
    """A child's provider whose measurements go into a buffer, and the parent's provider."""

    def __init__(self, buffer: Buffer, *, views: tuple[View, ...] = ()) -> None:
        self.buffer = buffer
        self.reader = InMemoryMetricReader()
        self.child = MeterProvider(shutdown_on_exit=False)
        self.parent = MeterProvider([self.reader], views=views, shutdown_on_exit=False)
        self.child._measurement_consumer.consume_measurement = lambda found: buffer.add(0, found)
        self.recorder = Recorder([self.parent])

    def points(self) -> dict[str, list[Any]]:
        """Everything that was measured, as the parent would export it, by metric."""
        self.buffer.pack(NOW)
        while self.buffer.waiting:
            _, index, points = frames.load(self.buffer.waiting.popleft()[0])
            self.recorder.record(index, points)
        data = self.reader.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data is not None else ()
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.fixture
def sides() -> Sides:
    """A child and its parent."""
    return Sides(Buffer())


def test_counters_are_summed_up(sides: Sides) -> None:
    """By instrument and attributes, whatever their order; floats and whole numbers."""
    meter = sides.child.get_meter("shop")
    orders, stock = meter.create_counter("orders"), meter.create_up_down_counter("stock")
    for _ in range(1000):
        orders.add(1, {"a": 1, "b": 2})
    orders.add(0.5, {"b": 2, "a": 1})
    orders.add(1)
    stock.add(-3)
    stock.add(1)
    points = sides.points()
    assert {point.value for point in points["orders"]} == {1000.5, 1}
    assert [point.value for point in points["stock"]] == [-2]


def test_a_histogram_keeps_each_value_and_a_gauge_the_last(sides: Sides) -> None:
    """As the SDK would have it in one process."""
    meter = sides.child.get_meter("shop")
    seconds = meter.create_histogram("seconds", explicit_bucket_boundaries_advisory=[1, 2])
    for value in (0.5, 1.5, 9):
        seconds.record(value, {"kind": Colour.RED})
        meter.create_gauge("level").set(value)
    points = sides.points()
    (point,) = points["seconds"]
    assert (point.count, point.sum, list(point.bucket_counts)) == (3, 11, [1, 1, 1])
    assert list(point.explicit_bounds) == [1, 2]
    assert point.attributes == {"kind": "red"}
    assert [point.value for point in points["level"]] == [9]


@pytest.mark.parametrize("bounds", [[1.0, 2.0], (1.0, 2.0), None], ids=["list", "tuple", "none"])
def test_the_parent_records_with_its_own_instrument(
    sides: Sides, bounds: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What was made before the fork is found again, without a complaint of the SDK."""
    made = []
    for provider in (sides.child, sides.parent):
        meter = provider.get_meter("shop", "1.0", "https://shop.test/1", {"team": "orders"})
        options = {"unit": "s", "description": "How long", "explicit_bucket_boundaries_advisory": bounds}
        made.append(meter.create_histogram("Shop.Seconds", **options))
    made[0].record(1)
    made[1].record(2)
    with caplog.at_level(logging.WARNING):
        ((point,),) = sides.points().values()
    assert (point.count, point.sum) == (2, 3)
    assert not caplog.records
    assert len(sides.parent._meters) == 1


def test_views_of_the_parent_hold() -> None:
    """Other boundaries, fewer attributes, another name."""
    view = View(
        instrument_name="seconds",
        name="renamed",
        attribute_keys={"kind"},
        aggregation=ExplicitBucketHistogramAggregation([7]),
    )
    sides = Sides(Buffer(), views=(view,))
    seconds = sides.child.get_meter("shop").create_histogram("seconds")
    seconds.record(1, {"kind": "a", "order": 1})
    seconds.record(8, {"kind": "a", "order": 2})
    (point,) = sides.points()["renamed"]
    assert list(point.bucket_counts) == [1, 1]
    assert point.attributes == {"kind": "a"}


def test_an_exemplar_names_the_sampled_span(sides: Sides) -> None:
    """Of a counter only where its sum is one measurement: no other value was measured in a span."""
    meter = sides.child.get_meter("shop")
    once, twice, seconds = (
        meter.create_counter("once"),
        meter.create_counter("twice"),
        meter.create_histogram("seconds"),
    )
    with TracerProvider().get_tracer("shop").start_as_current_span("process x") as span:
        once.add(1)
        twice.add(1)
        twice.add(1)
        seconds.record(3)
    ids = span.get_span_context()
    points = sides.points()
    for name in ("once", "seconds"):
        (exemplar,) = points[name][0].exemplars
        assert (exemplar.trace_id, exemplar.span_id) == (ids.trace_id, ids.span_id)
    assert not points["twice"][0].exemplars


def test_values_of_other_number_types_arrive(sides: Sides) -> None:
    """An int enum, a bool, a float of one's own."""

    class Metres(float):
        """A float with a meaning."""

    counter = sides.child.get_meter("shop").create_counter("orders")
    for value in (enum.IntEnum("Size", "SMALL").SMALL, True, Metres(0.5)):
        counter.add(value)
    assert [point.value for point in sides.points()["orders"]] == [2.5]


def test_what_has_no_room_in_one_frame_goes_in_several(sides: Sides) -> None:
    """None longer than the lane takes, nothing lost; what fits in none is counted."""
    counter = sides.child.get_meter("shop").create_counter("orders")
    for number in range(150):
        counter.add(1, {"text": f"{number}" + "x" * 1000})
    counter.add(1, {"text": "y" * lanes.LONGEST_FRAME})
    sides.buffer.pack(NOW)
    sizes = [len(frame) for frame, _ in sides.buffer.waiting]
    assert len(sizes) > 2
    assert max(sizes) <= lanes.LONGEST_FRAME
    assert sides.buffer.dropped == 1
    assert len(sides.points()["orders"]) == 150


def test_when_it_is_time_to_hand_over() -> None:
    """The first at once, the next after a second, or when there are many."""
    buffer, due = Buffer(), []
    provider = MeterProvider(shutdown_on_exit=False)
    provider._measurement_consumer.consume_measurement = lambda found: due.append(buffer.add(0, found))
    seconds = provider.get_meter("shop").create_histogram("seconds")
    seconds.record(1)
    assert due == [True]
    buffer.pack(time.time_ns())
    for _ in range(MOST_VALUES):
        seconds.record(1)
    assert due == [True, *[False] * (MOST_VALUES - 1), True]
    buffer.pack(time.time_ns() - LONGEST_WAIT)
    seconds.record(1)
    assert due[-1]


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Channel, lanes.Lanes, MeterProvider]]:
    """A child's channel, its lanes, and its provider after it was told to hand over."""
    pair, provider = lanes.make(), MeterProvider(shutdown_on_exit=False)
    made = Channel(pair)
    monkeypatch.setattr(channel, "_open", made)
    measurements.hand_over([provider])
    yield made, pair, provider
    pair.close()


Child = tuple[Channel, lanes.Lanes, MeterProvider]


@pytest.mark.parametrize("recorded", [True, False])
def test_measurements_go_before_the_end_of_the_attempt(child: Child, *, recorded: bool) -> None:
    """Whoever reads the end has read them."""
    made, pair, provider = child
    counter = provider.get_meter("shop").create_counter("orders")
    span = TracerProvider().get_tracer("shop").start_span("process x")
    made.announce(5, span if recorded else trace.INVALID_SPAN)
    counter.add(1)
    counter.add(1)
    span.end()
    if recorded:
        made.span(0, span)
    made.finished(5, span if recorded else None)
    kinds = [kind for kind, *_ in received(pair.control)]
    assert kinds == [frames.STARTED, frames.MEASURED, frames.MEASURED, frames.ENDED]


def test_a_full_lane_delays_nothing_for_long_and_loses_nothing(child: Child) -> None:
    """One short wait, then they stay here until there is room."""
    made, pair, provider = child
    counter = provider.get_meter("shop").create_counter("orders")
    fill(pair.control)
    started = time.monotonic()
    for _ in range(1000):
        counter.add(1)
    assert time.monotonic() - started < 2 * PATIENCE + 0.2
    received(pair.control)
    made.close()
    found = received(pair.control)
    assert {kind for kind, *_ in found} == {frames.MEASURED}
    values = [values for _, _, points in found for _, _, values in points]
    assert sum(number for row in values for number, _ in row) == 1000


def test_what_cannot_be_handed_over_is_counted(child: Child) -> None:
    """The lane stays full: a bounded number of frames waits, and the rest is told at the end."""
    made, pair, provider = child
    counter = provider.get_meter("shop").create_counter("orders")
    fill(pair.control)
    for _ in range(MOST_FRAMES + 10):
        counter.add(1)
        made.hand_over(patience=0)
    assert made._measured.dropped == 10
    made.hand_over(patience=0)
    made._measured.drop()
    received(pair.control)
    made.close()
    assert received(pair.control) == [(frames.DROPPED, 0, {"metrics": MOST_FRAMES + 10})]


def test_a_process_that_the_child_forks_begins_with_nothing(child: Child) -> None:
    """It hands over at once: nobody tells it when it ends."""
    _, pair, provider = child
    counter = provider.get_meter("shop").create_counter("orders")
    counter.add(1)
    counter.add(10)
    received(pair.control)
    channel.forked()
    counter.add(100)
    counter.add(1000)
    sums = [values[0][0] for _, _, points in received(pair.control) for _, _, values in points]
    assert sums == [100, 1000]


def test_the_parent_has_recorded_all_before_its_end(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """`emptied` of a meter provider is set behind the last measurement; drops are counted by signal."""
    in_memory = InMemoryMetricReader()
    parent, provider = (
        MeterProvider([in_memory], shutdown_on_exit=False),
        MeterProvider(shutdown_on_exit=False),
    )
    worker.reader._recorder = Recorder([parent])
    monkeypatch.setattr(channel, "_open", worker.channel)
    measurements.hand_over([provider])
    counter = provider.get_meter("shop").create_counter("orders")
    for number in range(500):
        counter.add(1, {"number": number})
    worker.channel._measured.dropped = 3
    worker.channel.close()
    worker.reader.stop()
    assert worker.reader.emptied(parent).wait(5)
    metric = in_memory.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0]
    assert sum(point.value for point in metric.data.data_points) == 500
    assert worker.reader.dropped == {"metrics": 3}


def test_the_last_export_has_what_children_said_last(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the parent: the lanes first, then the meter provider."""
    in_memory, seen = InMemoryMetricReader(), []

    class Ending(MeterProvider):
        """Looks at its sums when it ends."""

        def shutdown(self, timeout_millis: float = 30_000) -> None:  # noqa: ARG002
            """Export."""
            metric = in_memory.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0]
            seen.append(sum(point.value for point in metric.data.data_points))

    parent, child = Ending([in_memory], shutdown_on_exit=False), MeterProvider(shutdown_on_exit=False)
    parent.get_meter("shop").create_counter("orders").add(1)
    worker.reader._recorder = Recorder([parent])
    monkeypatch.setattr(channel, "_open", worker.channel)
    monkeypatch.setattr(end, "_taken", [parent])
    monkeypatch.setattr(end, "_finished", set())
    measurements.hand_over([child])
    counter = child.get_meter("shop").create_counter("orders")
    for number in range(2000):
        counter.add(1, {"number": number})
    worker.channel.hand_over()
    end.finish(worker.telemetry)
    assert seen == [2001]


def test_our_own_errors_stay_ours(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instrument that cannot be described: the job does not notice."""
    _, _, provider = child
    counter = provider.get_meter("shop").create_counter("orders")

    def refuse(_instrument: Any) -> Callable[[], None]:
        raise ValueError("unheard of")

    monkeypatch.setattr(measured, "describe", refuse)
    counter.add(1)
