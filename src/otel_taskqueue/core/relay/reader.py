"""The parent's side of the lanes: one thread that reads, rebuilds and forwards.

Whoever needs the latest word of a child (the terminal callback of an attempt) drains the lanes
itself; what comes out is forwarded by the thread only, so that a processor which exports at once
never does so in a worker's event loop.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
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
from otel_taskqueue.core.relay.held import Held
from otel_taskqueue.core.relay.log_frames import unpack_log
from otel_taskqueue.core.relay.measured import Recorder
from otel_taskqueue.core.relay.outlets import Outlets
from otel_taskqueue.core.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_taskqueue.core.attempts import Attempt
    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.sdk.providers import Pipeline

#: A wake-up reads everything that came within this time (s): fewer wake-ups, the same order.
_GATHER: Final = 0.02
_RETRY: Final = 0.05
#: A verdict waits this long (ns) for the announcement of an attempt that may just be starting.
_ANNOUNCEMENT: Final = 1_000_000_000
_BURST: Final = 512
#: Bytes that a frame may have on its lane: what was cut to its length, and what is packed around it.
_ROOM: Final = lanes.LONGEST_FRAME + 32 * 1024
#: Frames that say the same when they are looked at twice: a stop may strike before they are put away.
_REPEATABLE: Final = frozenset({frames.STARTED, frames.ENDED})


class Reader:
    """Lanes, the thread that serves them, and the processors they end in."""

    def __init__(self, pipelines: list[Pipeline], meter_providers: Sequence[Any] = ()) -> None:
        self.lanes = lanes.make()
        self.pipelines = pipelines
        self.meter_providers = meter_providers
        self.dropped: Counter[str] = Counter()
        self.owner = os.getpid()
        self._signals = [pipeline.signal for pipeline in pipelines]
        self._spans = self._signals.index("traces") if "traces" in self._signals else -1
        self._outlets = Outlets(pipelines, self._signals)
        self._recorder = Recorder(meter_providers)
        self._data: deque[tuple[int, int, bytes]] = deque()
        self._held = Held(lambda index, body: self._data.append((frames.LOG, index, body)))
        self._measured: deque[tuple[int, Any]] = deque()
        self._verdicts: deque[tuple[bytes, Verdict | None, int, Attempt]] = deque()
        self._later: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        # A signal handler of the library may come in again on the same thread (Celery's cold shutdown
        # cancels requests in one), or raise in the middle (RQ's stop).
        self._receiving = threading.RLock()
        self._control: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
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
            while self._receive(self.lanes.control.read, self._control) == _BURST:
                pass
        if self._measured:
            self.wake()

    def release(self, attempt: Attempt) -> None:
        """Forward the span as the child ended it."""
        self._settle(attempt, attempt.ended or b"", None, 0)

    def judge(self, attempt: Attempt, verdict: Verdict, end_time: int) -> None:
        """Forward the span with the parent's verdict in the place of the child's."""
        _ = attempt.incoming  # looked at while the message is still at hand
        self._settle(attempt, attempt.ended or attempt.started or b"", verdict, end_time)

    def settle_held(self, serial: int, *, keep: bool) -> None:
        """Forward or drop the log records that waited for the end of an attempt."""
        with self._receiving:
            self.dropped["logs"] += self._held.settle(serial, keep=keep)
        if keep:
            self.wake()

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
        here = (self._data, self._measured, self._verdicts, self._later)
        return sum(map(len, here)) + self._outlets.backlog

    def _settle(self, attempt: Attempt, body: bytes, verdict: Verdict | None, end_time: int) -> None:
        # In this order: a stop that strikes in between has it done once more, and it is told once.
        if body and self._spans >= 0:
            self._verdicts.append((body, verdict, end_time, attempt))
        attempts.settle(attempt)
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
            busy = self._receive(self.lanes.control.read, self._control)
            busy += self._receive(self.lanes.data.read, self._bulk)
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

    def _receive(self, lane: socket.socket, raw: deque[bytes]) -> int:
        """Take in at most a burst of frames; how many came."""
        receive = functools.partial(lane.recv, _ROOM)
        with contextlib.suppress(BlockingIOError):
            # One call into C: what a signal handler raises cannot come between the lane and the queue.
            raw.extend(itertools.islice(iter(receive, b""), _BURST))
        count = len(raw)
        while raw:
            self._read(raw, raw[0])
        return count

    def _read(self, raw: deque[bytes], frame: bytes) -> None:
        """Repeatable frames stay until they were attended to; others are taken out before."""
        kind = key = 0
        body: Any = None
        with Guarded("relay"):
            kind, key, body = frames.load(frame)
        if kind not in _REPEATABLE:
            _remove(raw, frame)
        with Guarded("relay"):
            self._take(kind, key, body)
        _remove(raw, frame)

    def _take(self, kind: int, key: int, body: Any) -> None:
        if kind in _REPEATABLE:
            attempt = attempts.find(key)
            if attempt is not None:
                self._note(attempt, kind, body)
        elif kind in {frames.SPAN, frames.LOG}:
            self._data.append((kind, key, body))
        elif kind == frames.MEASURED:
            self._measured.append((key, body))
        elif kind == frames.HELD:
            self._held.add(key, *body)
        elif kind == frames.DROPPED:
            self.dropped.update(body)

    def _note(self, attempt: Attempt, kind: int, body: Any) -> None:
        if kind == frames.STARTED:
            attempt.started = body
        else:
            attempt.ended, result = body
            attempt.result = Result(*result) if result else None
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
        while self._measured:
            with Guarded("measurements"):
                self._recorder.record(*self._measured.popleft())
        while self._verdicts:
            body, verdict, end_time, attempt = self._verdicts.popleft()
            if not attempts.first_told(attempt):
                continue
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


def _remove(raw: deque[bytes], frame: bytes) -> None:
    """A signal handler that came in may have read it meanwhile."""
    if raw and raw[0] is frame:
        raw.popleft()
