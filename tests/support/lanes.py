"""What waits in a lane, and a lane in which nothing more can wait."""

from __future__ import annotations

from typing import Any

from otel_taskqueue.core.relay import frames
from otel_taskqueue.core.relay.lanes import LONGEST_FRAME, Lane


def received(lane: Lane) -> list[Any]:
    """Every frame that waits in a lane."""
    found = []
    while True:
        try:
            found.append(frames.load(lane.read.recv(2 * LONGEST_FRAME)))
        except BlockingIOError:
            return found


def fill(lane: Lane) -> None:
    """Leave no room in a lane."""
    try:
        while True:
            lane.write.send(frames.dump((frames.SPAN, 0, b"x" * 1000)))
    except BlockingIOError:
        return
