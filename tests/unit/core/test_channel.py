"""The child's end of the lanes: nothing blocks for long, what is lost is counted."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_taskqueue.core.relay import channel, frames, lanes
from otel_taskqueue.core.relay.channel import OVERFLOW, PATIENCE, Channel
from support.lanes import fill, received

SERIAL = 5


@pytest.fixture
def pair() -> Iterator[lanes.Lanes]:
    """Lanes with both ends in this process."""
    made = lanes.make()
    yield made
    made.close()


def ended(name: str = "inner") -> ReadableSpan:
    """A finished span."""
    span = TracerProvider().get_tracer("shop").start_span(name)
    span.end()
    return span


def test_a_process_span_goes_on_the_control_lane(pair: lanes.Lanes) -> None:
    """Announced, ended; inner spans go on the other one."""
    child = Channel(pair)
    span = TracerProvider().get_tracer("shop").start_span("process x")
    child.announce(SERIAL, span)
    child.span(0, ended())
    span.end()
    child.span(0, span)
    child.finished(SERIAL, span)
    control, data = received(pair.control), received(pair.data)
    assert [(kind, key) for kind, key, _ in control] == [(frames.STARTED, SERIAL), (frames.ENDED, SERIAL)]
    assert [kind for kind, _, _ in data] == [frames.SPAN]


def test_an_attempt_that_is_not_recorded_says_so(pair: lanes.Lanes) -> None:
    """Sampled off, or excluded: the parent must not wait, and must not make a span of its own."""
    child = Channel(pair)
    span = TracerProvider(sampler=ALWAYS_OFF).get_tracer("shop").start_span("process x")
    child.announce(SERIAL, span)
    child.finished(SERIAL, span)
    child.finished(SERIAL + 1, None)
    assert received(pair.control) == [
        (frames.STARTED, SERIAL, b""),
        (frames.ENDED, SERIAL, (b"", None)),
        (frames.ENDED, SERIAL + 1, (b"", None)),
    ]


def test_a_recorded_span_whose_end_got_lost_is_left_to_the_parent(pair: lanes.Lanes) -> None:
    """A time limit struck while it was handed over: an empty end would make the parent drop it."""
    child = Channel(pair)
    span = TracerProvider().get_tracer("shop").start_span("process x")
    child.announce(SERIAL, span)
    child.finished(SERIAL, span)
    assert [kind for kind, _, _ in received(pair.control)] == [frames.STARTED]


def test_a_full_lane_blocks_no_inner_span(pair: lanes.Lanes) -> None:
    """They wait in the child, at most so many; the rest is counted."""
    child = Channel(pair)
    fill(pair.data)
    span = ended()
    started = time.monotonic()
    for _ in range(OVERFLOW + 10):
        child.span(0, span)
    assert time.monotonic() - started < 5
    assert len(child._spans) == OVERFLOW
    received(pair.data)
    child.drain()
    assert len(received(pair.data)) == OVERFLOW
    assert received(pair.control) == [(frames.DROPPED, 0, {"traces": 10})]


def test_logs_make_way_for_spans(pair: lanes.Lanes) -> None:
    """When the overflow is full, logs go first."""
    child = Channel(pair)
    fill(pair.data)
    child._logs.extend([b"log"] * OVERFLOW)
    child.span(0, ended())
    assert (len(child._logs), len(child._spans)) == (OVERFLOW - 1, 1)
    assert child._dropped == Counter({"logs": 1})


def test_what_waits_goes_first_once_there_is_room(pair: lanes.Lanes) -> None:
    """Not only at the end of the attempt: a long job would drop beside an empty lane."""
    child = Channel(pair)
    fill(pair.data)
    child.span(0, ended("first"))
    received(pair.data)
    child.span(0, ended("second"))
    names = [frames.load(body)[0] for _, _, body in received(pair.data)]
    assert names == ["first", "second"]


def test_a_full_control_lane_costs_fifty_milliseconds(pair: lanes.Lanes) -> None:
    """Then the frame is given up and counted; the parent's own verdict stands in."""
    child = Channel(pair)
    span = TracerProvider().get_tracer("shop").start_span("process x")
    child.announce(SERIAL, span)
    fill(pair.control)
    started = time.monotonic()
    span.end()
    child.span(0, span)
    assert PATIENCE * 0.9 <= time.monotonic() - started < 10 * PATIENCE
    assert child._dropped == Counter({"traces": 1})


def test_an_end_with_a_full_lane_is_bounded(pair: lanes.Lanes) -> None:
    """Closing counts what nobody took."""
    child = Channel(pair)
    fill(pair.data)
    for _ in range(3):
        child.span(0, ended())
    started = time.monotonic()
    child.close()
    assert time.monotonic() - started < 10 * PATIENCE
    assert received(pair.control) == [(frames.DROPPED, 0, {"traces": 3})]


def test_a_dead_parent_is_noticed_and_costs_nothing(pair: lanes.Lanes) -> None:
    """No error, no waiting, no signal."""
    child = Channel(pair)
    pair.control.read.close()
    pair.data.read.close()
    started = time.monotonic()
    for _ in range(1000):
        child.span(0, ended())
    child.finished(SERIAL, None)
    child.close()
    assert time.monotonic() - started < 5
    assert child._dead


def test_a_frame_that_the_kernel_refuses_closes_nothing(pair: lanes.Lanes) -> None:
    """Larger than any datagram may be: this one is lost, the next one is sent."""
    child = Channel(pair)
    pair.data.write.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    assert child._send(pair.data.write, b"x" * 1_000_000, 0) is False
    child.span(0, ended())
    assert len(received(pair.data)) == 1


def test_a_reused_descriptor_is_not_written_to(pair: lanes.Lanes) -> None:
    """A job closed all descriptors and opened its own: telemetry must not get into that."""
    child = Channel(pair)
    reader, writer = socket.socketpair()
    number = pair.control.write.fileno()
    kept = os.dup(number)
    os.dup2(writer.fileno(), number)
    try:
        span = TracerProvider().get_tracer("shop").start_span("process x")
        child.announce(SERIAL, span)
        child.span(0, ended())
        reader.setblocking(False)
        with pytest.raises(BlockingIOError):
            reader.recv(1)
        assert not pair.are_intact()
        assert channel.open_channel(pair) is False
    finally:
        os.dup2(kept, number)
        for thing in (reader, writer):
            thing.close()
        os.close(kept)


def test_an_open_channel_keeps_no_read_end(pair: lanes.Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a child holds one itself, it does not notice that its parent is dead."""
    monkeypatch.setattr(channel, "_open", None)
    assert channel.open_channel(pair)
    assert (pair.control.read.fileno(), pair.data.read.fileno()) == (-1, -1)
    with pytest.raises(BrokenPipeError):
        pair.control.write.send(b"x", socket.MSG_NOSIGNAL)
