"""The child's end of the lanes: what it announces, what it hands over, what it had to drop.

At most one channel is open in a process, and only where a job-running child has opened it (D5).
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections import Counter, deque
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.trace import Span

    from otel_taskqueue.core.relay.lanes import Lanes

#: Frames of the data lane that wait in the child while the lane is full.
OVERFLOW: Final = 2048
#: The longest time (s) that a send on the control lane, or emptying the overflow, may take.
PATIENCE: Final = 0.05
#: A frame that the kernel refuses now or for its size: the frame is lost, the lane is not.
_REFUSED: Final = frozenset({errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM})

_open: Channel | None = None
_holding: ContextVar[int | None] = ContextVar("otel_taskqueue_holding", default=None)


class Channel:
    """Both lanes as the child sees them."""

    def __init__(self, lanes: Lanes) -> None:
        from otel_taskqueue.core.relay import cut, frames, measured  # noqa: PLC0415  needs the SDK

        self._frames = frames
        self._cut = cut
        self._lanes = lanes
        self._control = lanes.control.write
        self._data = lanes.data.write
        self._spans: deque[bytes] = deque()
        self._logs: deque[bytes] = deque()
        self._measured = measured.Buffer()
        self._serials: dict[int, int] = {}
        self._results: dict[int, tuple[Any, ...]] = {}
        self._dropped: Counter[str] = Counter()
        self._dead = False

    def announce(self, serial: int, span: Span) -> None:
        """Tell the parent which span the attempt has; empty when nothing is recorded."""
        if not self._lanes.are_intact():  # the job before has closed or reused a descriptor
            self._dead = True
        body = b""
        context = span.get_span_context()
        if span.is_recording() and context.trace_flags.sampled:
            self._serials[context.span_id] = serial
            body = self._cut.dump_span(span)
        self._send_control((self._frames.STARTED, serial, body))

    def span(self, index: int, span: Any) -> None:
        """Hand over an ended span: a process span on the control lane, any other on the data lane."""
        serial = self._serials.get(span.context.span_id)
        body = self._cut.dump_span(span)
        if serial is None:
            self._send_data(self._frames.dump((self._frames.SPAN, index, body)), self._spans, "traces")
            return
        self.hand_over()
        self._send_control((self._frames.ENDED, serial, (body, self._results.pop(serial, None))))

    def log(self, index: int, record: Any) -> None:
        """Hand over a log record; the parent holds it when the end of an attempt decides about it."""
        body, serial = self._cut.dump_log(record), _holding.get()
        frame = (
            (self._frames.LOG, index, body) if serial is None else (self._frames.HELD, serial, (index, body))
        )
        self._send_data(self._frames.dump(frame), self._logs, "logs")

    def measure(self, index: int, measurement: Any) -> None:
        """Take in what an instrument of a meter provider has measured; it goes with what comes after it."""
        if self._measured.add(index, measurement):
            self.hand_over()

    def hand_over(self, patience: float = PATIENCE) -> None:
        """Send what was measured: before the end of the attempt, whoever sees that sees all of it."""
        self._measured.pack(time.time_ns())
        deadline = time.monotonic() + patience
        with contextlib.suppress(IndexError):  # another thread of the job sends, too
            while waiting := self._measured.waiting.popleft():
                if not self._send(self._control, waiting[0], deadline):
                    self._measured.waiting.appendleft(waiting)
                    return

    def forked(self) -> None:
        """In a process that the child has forked."""
        self._measured.forked()

    def conclude(self, serial: int, result: tuple[Any, ...]) -> None:
        """What the end of the attempt will say beside its span (`core.result.Result`)."""
        self._results[serial] = result

    def finished(self, serial: int, span: Span | None) -> None:
        """The attempt has ended: say so if no span did, and hand over what waited.

        A recorded span whose end did not get here (a time limit struck in the middle of it) is
        ended by the parent, from its announcement.
        """
        recorded = span is not None and self._serials.pop(span.get_span_context().span_id, None) is not None
        result = self._results.pop(serial, None)
        self.hand_over()
        if not recorded:
            self._send_control((self._frames.ENDED, serial, (b"", result)))
        self.drain()

    def drain(self, patience: float = PATIENCE) -> None:
        """Hand over what waits, for at most ``patience`` seconds, and report what was dropped."""
        deadline = time.monotonic() + patience
        self._send_waiting(deadline)
        lost, self._measured.dropped = self._measured.dropped, 0
        if lost:
            self._dropped["metrics"] += lost
        if self._dropped:
            dropped, self._dropped = self._dropped, Counter()
            self._send_control((self._frames.DROPPED, 0, dict(dropped)))

    def close(self) -> None:
        """The child ends: one last try, the rest is counted as dropped."""
        self.hand_over(4 * PATIENCE)
        self.drain(4 * PATIENCE)
        self._measured.drop()
        self._dropped["traces"] += len(self._spans)
        self._dropped["logs"] += len(self._logs)
        self._spans.clear()
        self._logs.clear()
        self._dropped = +self._dropped
        self.drain()

    def _send_control(self, frame: tuple[Any, ...]) -> None:
        if not self._send(self._control, self._frames.dump(frame), time.monotonic() + PATIENCE):
            self._dropped["traces"] += frame[0] == self._frames.ENDED

    def _send_data(self, frame: bytes, waiting: deque[bytes], signal: str) -> None:
        if self._send_waiting(0) and self._send(self._data, frame, 0):
            return
        if len(self._spans) + len(self._logs) >= OVERFLOW:
            if signal == "logs" or not self._logs:
                self._dropped[signal] += 1
                return
            self._logs.popleft()
            self._dropped["logs"] += 1
        waiting.append(frame)

    def _send_waiting(self, deadline: float) -> bool:
        """Send what waits, oldest first, spans before logs; True when nothing waits any more."""
        for waiting in (self._spans, self._logs):
            while waiting:
                frame = waiting.popleft()
                if not self._send(self._data, frame, deadline):
                    waiting.appendleft(frame)
                    return False
        return True

    def _send(self, lane: Any, frame: bytes, deadline: float) -> bool:
        """Send one frame; wait for room until the deadline (monotonic; 0 = do not wait)."""
        while not self._dead:
            try:
                lane.send(frame, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                left = deadline - time.monotonic() if deadline else 0
                if left <= 0 or not _wait_writable(lane, left):
                    return False
            except OSError as error:
                if error.errno in _REFUSED:
                    return False
                self._dead = True  # the parent is gone: end as a child without us would
            else:
                return True
        return True


def open_channel(lanes: Lanes) -> bool:
    """Open the channel in a child; False when a descriptor is no longer our socket."""
    global _open  # noqa: PLW0603  one channel per process, read on every span
    if not lanes.are_intact():
        return False
    lanes.keep_write_ends()
    _open = Channel(lanes)
    return True


def current() -> Channel | None:
    """The channel of this process, None when it is no relaying child."""
    return _open


def is_open() -> bool:
    """Whether this process is a child that relays."""
    return _open is not None


@contextmanager
def held_for(serial: int) -> Generator[None]:
    """Log records that are emitted in here wait in the parent for the end of this attempt."""
    token = _holding.set(serial)
    try:
        yield
    finally:
        _holding.reset(token)


def announce(serial: int | None, span: Span) -> None:
    """Announce the process span of an attempt, when this is a relaying child."""
    if _open is not None and serial is not None:
        with Guarded("relay"):
            _open.announce(serial, span)


def conclude(serial: int | None, result: tuple[Any, ...]) -> None:
    """What the end of the attempt will say beside its span, when this is a relaying child."""
    if _open is not None and serial is not None:
        _open.conclude(serial, result)


def finished(serial: int | None, span: Span | None) -> None:
    """The attempt has ended, when this is a relaying child."""
    if _open is not None and serial is not None:
        with Guarded("relay", leaving=True):
            _open.finished(serial, span)


def forked() -> None:
    """In a process that was forked, perhaps by a relaying child."""
    if _open is not None:
        _open.forked()


def close() -> None:
    """The child ends."""
    if _open is not None:
        with Guarded("relay", leaving=True):
            _open.close()


def _wait_writable(lane: Any, seconds: float) -> bool:
    poller = select.poll()
    poller.register(lane, select.POLLOUT)
    return bool(poller.poll(seconds * 1000))
