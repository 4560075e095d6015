"""The end of a process: flush with a deadline of our own.

The SDK ignores the timeout of ``force_flush``, and its exit takes 10 s and more for each signal
when the collector is away. Ours ends when nothing has moved for ``flush_timeout`` seconds, and
after five seconds in all.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import MeterProvider

from otel_taskqueue.core import arbiter, delivery, forks
from otel_taskqueue.core.failure import Verdict
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.sdk import metric_readers, providers
from otel_taskqueue.core.sdk.patience import Patience, Waits
from otel_taskqueue.semconv import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_taskqueue.core.relay.reader import Reader
    from otel_taskqueue.core.telemetry import Telemetry

#: The longest time (s) that the end of a process waits for its telemetry.
LIMIT: Final = 5.0
#: Of ``flush_timeout``; the rest of it is what the interpreter takes to take the SDK apart.
_SHARE: Final = 0.6
_STEP: Final = 0.02
_STOPPED: Final = Verdict(Outcome.LOST, description="the worker stopped")
_taken: list[Any] = []
_registered = False
_finished: set[int] = set()
_waits = Waits()


def take_over(telemetry: Telemetry) -> None:
    """Put our bounded end in the place of the providers' own, once for each provider."""
    global _registered  # noqa: PLW0603  a forked process inherits the handler
    for provider in providers.of(telemetry):
        if all(provider is not other for other in _taken) and providers.take_exit_handler(provider):
            _taken.append(provider)
    if _taken and not _registered:
        _registered = True
        atexit.register(finish, telemetry)


def finish(telemetry: Telemetry) -> None:
    """Forward what the relay holds and shut down whatever exports, all within the deadline."""
    if os.getpid() in _finished:
        return
    _finished.add(os.getpid())
    with Guarded("exit", leaving=True):
        reader = delivery.reader()
        arbiter.conclude_all(_STOPPED)
        if reader is not None:
            reader.stop()
        patience = Patience(telemetry.settings.flush_timeout * _SHARE, waits=_waits)
        parts = [part for provider in _taken for part in _parts(provider)]
        ends = [functools.partial(_end, part, reader, patience) for part in parts]
        _run(ends, _progress(_taken, reader), patience)


def flush(telemetry: Telemetry, share: float = 1.0) -> None:
    """Flush within the deadline; within a share of it where the end of the worker waits for this one.

    Metrics only where this process exports its own: else they would be one series more for each child.
    """
    limit = telemetry.settings.flush_timeout * _SHARE
    patience = Patience(limit, share, _waits) if share < 1 else Patience(limit)
    found = [
        provider
        for provider in providers.of(telemetry)
        if forks.is_fresh() or not isinstance(provider, MeterProvider)
    ]
    parts = [part for provider in found for part in _parts(provider)]
    flushes = [functools.partial(patience.ask, part, part.force_flush) for part in parts]
    _run(flushes, _progress(found, None), patience)


def _end(part: Any, reader: Reader | None, patience: Patience) -> None:
    if reader is not None:
        reader.emptied(part).wait()
    patience.ask(part, part.shutdown)


def _parts(provider: Any) -> tuple[Any, ...]:
    """What ends by itself: each processor, so that one that hangs does not keep the others waiting."""
    return providers.processors_of(provider) or (provider,)


def _progress(watched: Sequence[Any], reader: Reader | None) -> Callable[[], list[int]]:
    """What moves as long as the export does: queues become shorter, exports of metrics begin and end."""
    exports = [metric_readers.count_exports(provider) for provider in watched]

    def state() -> list[int]:
        waiting = [*map(providers.waiting, watched), reader.backlog if reader is not None else 0]
        return [*waiting, *(count() for count in exports)]

    return state


def _run(calls: Sequence[Callable[[], Any]], left: Callable[[], list[int]], patience: Patience) -> None:
    """Call each in a thread of its own; give up when nothing moves or the limit is reached."""
    threads = [threading.Thread(target=_quietly, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    moved, last = time.monotonic(), None
    deadline = moved + LIMIT
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        next((thread for thread in threads if thread.is_alive()), threads[0]).join(_STEP)  # none by now
        state = [*left(), *(thread.is_alive() for thread in threads)]
        if state != last:
            moved, last = time.monotonic(), state
        if time.monotonic() - moved > patience.left():
            return


def _quietly(call: Callable[[], Any]) -> None:
    with Guarded("exit"):
        call()
