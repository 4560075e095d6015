"""The parent's side of the lanes: one thread that reads, rebuilds and forwards.

Whoever needs the latest word of a child (the terminal callback of an attempt) drains the lanes
itself; what comes out is forwarded by the thread only, so that a processor which exports at once
never does so in a worker's event loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_taskqueue.core import attempts
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.relay import frames, judge, lanes
from otel_taskqueue.core.relay.log_frames import unpack_log
from otel_taskqueue.core.relay.outlets import Outlets

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.core.attempts import Attempt
    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.sdk.providers import Pipeline

#: A wake-up reads everything that came within this time (s): fewer wake-ups, the same order.
_GATHER: Final = 0.02
_RETRY: Final = 0.05
#: A verdict waits this long (ns) for the announcement of an attempt that may just be starting.
_ANNOUNCEMENT: Final = 1_000_000_000
_BURST: Final = 512


class Reader:
    """Lanes, the thread that serves them, and the processors they end in."""

    def __init__(self, pipelines: list[Pipeline]) -> None:
        self.lanes = lanes.make()
        self.pipelines = pipelines
        self.dropped: Counter[str] = Counter()
        self.owner = os.getpid()
        self._signals = [pipeline.signal for pipeline in pipelines]
        self._spans = self._signals.index("traces") if "traces" in self._signals else -1
        self._outlets = Outlets(pipelines, self._signals)
        self._data: deque[tuple[int, int, bytes]] = deque()
        self._verdicts: deque[tuple[bytes, Verdict | None, int, Attempt]] = deque()
        self._later: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        # A signal handler of the library may come in again on the same thread (Celery's cold shutdown
        # cancels requests in one): it then reads into another buffer.
        self._receiving = threading.RLock()
        self._buffers = [_buffer()]
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._stopping = threading.Event()
        self._all_read = threading.Event()
        self._sources = select.poll()
        for source in (self._woken, self.lanes.control.read, self.lanes.data.read):
            self._sources.register(source, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name="otel-taskqueue-relay", daemon=True)
        self._thread.start()

    def drain(self) -> None:
        """Take in every frame that the children have sent so far."""
        with self._receiving:
            while self._receive(self.lanes.control.read, _BURST) == _BURST:
                pass

    def release(self, attempt: Attempt) -> None:
        """Forward the span as the child ended it."""
        self._settle(attempt, attempt.ended or b"", None, 0)

    def judge(self, attempt: Attempt, verdict: Verdict, end_time: int) -> None:
        """Forward the span with the parent's verdict in the place of the child's."""
        _ = attempt.incoming  # looked at while the message is still at hand
        self._settle(attempt, attempt.ended or attempt.started or b"", verdict, end_time)

    def stop(self) -> None:
        """Nothing more will come: forward the rest, then end. Does not wait."""
        self._stopping.set()
        self.wake()

    def emptied(self, processor: Any) -> threading.Event:
        """Set when a processor has been given everything, after `stop`."""
        return self._outlets.emptied(processor) or self._all_read

    @property
    def backlog(self) -> int:
        """What was taken in and is not forwarded yet."""
        return len(self._data) + len(self._verdicts) + len(self._later) + self._outlets.backlog

    def _settle(self, attempt: Attempt, body: bytes, verdict: Verdict | None, end_time: int) -> None:
        attempts.settle(attempt)
        if body and self._spans >= 0:
            self._verdicts.append((body, verdict, end_time, attempt))
            self.wake()

    def later(self, call: Callable[..., None], *args: Any) -> None:
        """Run something on the forwarding thread."""
        self._later.append((call, args))
        self.wake()

    def wake(self) -> None:
        """Let the thread look after what has changed."""
        try:
            self._wake.send(b"!")
        except BlockingIOError:
            pass  # it is awake already
        except OSError:
            pass

    def _run(self) -> None:
        with suppress_instrumentation():
            while True:
                with Guarded("relay"):
                    if self._serve():
                        return
                    continue
                time.sleep(_RETRY)

    def _serve(self) -> bool:
        """One turn: wait, read, forward; True when all is done and the worker stops."""
        stopping = self._stopping.is_set()
        self._wait(stopping)
        if not stopping:
            time.sleep(_GATHER)
        with self._receiving:
            busy = self._receive(self.lanes.control.read, _BURST) + self._receive(
                self.lanes.data.read, _BURST
            )
        self._expire(0 if stopping and not busy else _ANNOUNCEMENT)
        self._rebuild()
        empty = self._outlets.forward()
        self.dropped.update(self._outlets.take_dropped())
        if not stopping or busy:
            return False
        self._all_read.set()
        self._outlets.finish()
        return empty and not self.backlog

    def _wait(self, stopping: bool) -> None:  # noqa: FBT001
        timeout = None
        if stopping:
            timeout = _GATHER / 2
        elif self.backlog:
            timeout = _RETRY
        elif attempts.pending():
            timeout = _ANNOUNCEMENT / 2e9
        self._sources.poll(timeout and timeout * 1000)
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)

    def _receive(self, lane: socket.socket, most: int) -> int:
        buffer = self._buffers.pop() if self._buffers else _buffer()
        try:
            for count in range(most):
                try:
                    size = lane.recv_into(buffer)
                except BlockingIOError:
                    return count
                with Guarded("relay"):
                    self._take(*frames.load(buffer[:size]))
            return most
        finally:
            self._buffers.append(buffer)

    def _take(self, kind: int, key: int, body: Any) -> None:
        if kind in {frames.SPAN, frames.LOG}:
            self._data.append((kind, key, body))
        elif kind == frames.DROPPED:
            self.dropped.update(body)
        else:
            attempt = attempts.find(key)
            if attempt is not None:
                self._note(attempt, kind, body)

    def _note(self, attempt: Attempt, kind: int, body: bytes) -> None:
        if kind == frames.STARTED:
            attempt.started = body
        else:
            attempt.ended = body
        if attempt.pending is not None:
            self.judge(attempt, *attempt.pending)

    def _expire(self, patience: int) -> None:
        """Verdicts whose attempt was killed before it could announce itself get a span of their own."""
        now = time.time_ns()
        for attempt in attempts.pending():
            pending = attempt.pending
            if pending is not None and now - pending.end_time >= patience:
                _ = attempt.incoming  # looked at while the message is still at hand
                attempts.settle(attempt)
                judge.alone(attempt, *pending)

    def _rebuild(self) -> None:
        while self._later:
            call, args = self._later.popleft()
            with Guarded("relay"):
                call(*args)
        while self._verdicts:
            body, verdict, end_time, attempt = self._verdicts.popleft()
            with Guarded("relay"):
                self._forward_process_span(body, verdict, end_time, attempt)
        while self._data:
            kind, index, body = self._data.popleft()
            with Guarded("relay"):
                unpack = frames.unpack_span if kind == frames.SPAN else unpack_log
                item: Any = unpack(frames.load(body), self.pipelines[index].resource)
                self._outlets.add(index, item, important=False)

    def _forward_process_span(
        self, body: bytes, verdict: Verdict | None, end_time: int, attempt: Attempt
    ) -> None:
        pipeline = self.pipelines[self._spans]
        packed = frames.load(body)
        if verdict is not None:
            packed = judge.rewrite(packed, verdict, end_time, attempt)
        span = frames.unpack_span(packed, pipeline.resource)
        if verdict is not None:
            for processor in pipeline.own:
                processor.on_end(span)
        self._outlets.add(self._spans, span, important=True)


def _buffer() -> memoryview:
    return memoryview(bytearray(2 * lanes.LONGEST_FRAME))
