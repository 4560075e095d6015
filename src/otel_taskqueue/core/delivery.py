"""How telemetry gets out of this process: relayed, or exported and flushed within a deadline.

The worker's parent prepares the relay before it forks; a child enters it where it starts to run
jobs and leaves it where it ends. Everything works without an SDK, then nothing is delivered.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

from otel_taskqueue.core import attempts, forks, oom, usage
from otel_taskqueue.core.guard import Guarded, is_control
from otel_taskqueue.core.relay import channel, lanes

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.attempts import Attempt
    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.relay.reader import Reader
    from otel_taskqueue.core.telemetry import Telemetry

SIGNALS: Final = ("traces", "logs", "metrics")
#: What children need: imported before they are forked, else each of them imports it anew.
_OF_CHILDREN: Final = tuple(
    f"otel_taskqueue.core.{name}" for name in ("relay.cut", "sdk.child", "sdk.measurements")
)

_reader: Reader | None = None
_entered = False
_dropped: Counter[str] = Counter()


def reader() -> Reader | None:
    """The reader of this process, None when it is not a relaying parent."""
    return _reader if _reader is not None and _reader.owner == os.getpid() else None


def dropped() -> dict[str, int]:
    """What children, the relay and this process had to drop since the worker's start, by signal."""
    serving = reader()
    if serving is None:
        return dict(_dropped)
    return {**dict.fromkeys(SIGNALS, 0), **(_dropped + serving.dropped)}


def forget_dropped() -> None:
    """In a forked process which works on its own: what its parent had to drop is the parent's."""
    _dropped.clear()


def count_dropped(signal: str, count: int) -> None:
    """This process had to drop so many more."""
    if count:
        _dropped[signal] += count


def why_not(telemetry: Telemetry) -> str | None:
    """Why children cannot relay, in words for ``doctor``; None when they can."""
    if not telemetry.settings.relay:
        return "switched off by OTEL_PYTHON_TASKQUEUE_RELAY"
    if not lanes.available() or not sys.platform.startswith("linux"):
        return "this system has no message sockets to inherit"
    if not reports(telemetry):
        return "no SDK in the worker's parent: the application sets it up in the child"
    from otel_taskqueue.core.sdk import providers  # noqa: PLC0415  needs the SDK

    if providers.pipelines(providers.of(telemetry)) is None:
        return "this version of the SDK hides its processors"
    return None


def reports(telemetry: Telemetry) -> bool:
    """Whether this process has an SDK that can report on an attempt, by whatever signal."""
    try:
        from otel_taskqueue.core.sdk import providers  # noqa: PLC0415  needs the SDK
    except ImportError:
        return False
    return bool(providers.of(telemetry))


def prepare(telemetry: Telemetry) -> bool:
    """In the parent, before it forks: make the relay once; False when children must export."""
    global _reader  # noqa: PLW0603  one relay per worker
    if reader() is not None:
        return True
    if why_not(telemetry) is not None:
        return False
    from otel_taskqueue.core.relay.reader import Reader  # noqa: PLC0415  needs the SDK
    from otel_taskqueue.core.sdk import providers  # noqa: PLC0415

    with Guarded("relay"):
        for name in _OF_CHILDREN:
            importlib.import_module(name)
        found = providers.pipelines(providers.of(telemetry)) or []
        _reader = Reader(found, providers.meter_providers(telemetry.meter_provider))
        oom.mark()
        return True
    return False


def enter_child() -> None:
    """In a job-running child: relay from here on, when its parent prepared that."""
    global _entered  # noqa: PLW0603
    attempts.forget()
    usage.configure(cpu=True, memory=True)
    forks.mute()
    if _reader is None or _reader.owner == os.getpid():
        return
    with Guarded("relay"):
        if channel.open_channel(_reader.lanes):
            from otel_taskqueue.core.sdk import child, measurements  # noqa: PLC0415  needs the SDK

            child.relay(_reader.pipelines)
            measurements.hand_over(_reader.meter_providers)
            _entered = True


def child_is_ready() -> None:
    """In a child, after the application's own set-up: our relay packs last."""
    if _entered and _reader is not None:
        with Guarded("relay"):
            from otel_taskqueue.core.sdk import child  # noqa: PLC0415  needs the SDK

            child.relay_last(_reader.pipelines)


def leave_child(telemetry: Telemetry, *, share: float = 1.0) -> None:
    """A child ends: hand over what waits; flush, within our deadline, what it exports by itself.

    ``share`` of the deadline: less than 1 where the end of the worker waits for this child's. What
    it waits in vain the worker does not wait again.
    """
    with Guarded("flush", leaving=True):
        channel.close()
        try:
            from otel_taskqueue.core.sdk import child, exit, providers  # noqa: A004, PLC0415  needs the SDK
        except ImportError:
            return
        if not _entered or child.has_own_processors(providers.of(telemetry)):
            exit.flush(telemetry, share)


def bound_exit(telemetry: Telemetry) -> None:
    """Give this process an end with a deadline, as far as it has an SDK."""
    if "opentelemetry.sdk" not in sys.modules:
        return
    with Guarded("exit"):
        from otel_taskqueue.core.sdk import exit  # noqa: A004, PLC0415  needs the SDK

        exit.take_over(telemetry)


def finish(telemetry: Telemetry) -> None:
    """A worker's parent ends where no exit handler runs: forward and shut down within the deadline."""
    if "opentelemetry.sdk" not in sys.modules:
        return
    with Guarded("exit", leaving=True):
        from otel_taskqueue.core.sdk import exit  # noqa: A004, PLC0415  needs the SDK

        exit.finish(telemetry)


def context_of(started: bytes) -> SpanContext | None:
    """The span context in a child's announcement."""
    from otel_taskqueue.core.relay import frames  # noqa: PLC0415  needs the SDK

    return frames.unpack_context(frames.load(started)[frames.CONTEXT])


def start_of(started: bytes) -> int:
    """The start (unix nanoseconds) in a child's announcement."""
    from otel_taskqueue.core.relay import frames  # noqa: PLC0415  needs the SDK

    return frames.load(started)[frames.START]


def alone(attempt: Attempt, verdict: Verdict, end_time: int) -> None:
    """A span for an attempt of which no child spoke; a relaying parent makes it on its own thread."""
    from otel_taskqueue.core.relay import judge  # noqa: PLC0415

    serving = reader()
    if serving is None:
        try:
            judge.alone(attempt, verdict, end_time)
        except BaseException as error:
            if not is_control(error):  # after a stop it is tried again
                attempts.settle(attempt)
            raise
        attempts.settle(attempt)
    else:
        _ = attempt.incoming  # looked at while the message is still at hand
        serving.later(judge.alone_once, attempt, verdict, end_time)
        attempts.settle(attempt)
