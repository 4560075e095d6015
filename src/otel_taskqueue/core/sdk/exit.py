"""The end of a process: flush with a deadline of our own.

The SDK ignores the timeout of ``force_flush``, and its exit takes 10 s and more for each signal
when the collector is away. Ours ends when nothing has moved for ``flush_timeout`` seconds, and
after five seconds in all.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import MeterProvider

from otel_taskqueue.core import delivery
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.sdk import providers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_taskqueue.core.telemetry import Telemetry

#: The longest time (s) that the end of a process waits for its telemetry.
LIMIT: Final = 5.0
_STEP: Final = 0.02
_taken: list[Any] = []
_registered: list[int] = []


def take_over(telemetry: Telemetry) -> None:
    """Put our bounded end in the place of the providers' own, once for each provider."""
    for provider in _found(telemetry):
        if all(provider is not other for other in _taken) and providers.take_exit_handler(provider):
            _taken.append(provider)
    if _taken and os.getpid() not in _registered:
        _registered.append(os.getpid())
        atexit.register(finish, telemetry)


def finish(telemetry: Telemetry) -> None:
    """Forward what the relay holds, then shut the providers down, all within the deadline."""
    with Guarded("exit", leaving=True):
        started = time.monotonic()
        reader = delivery.reader()
        if reader is not None:
            reader.stop(telemetry.settings.flush_timeout, LIMIT)
        left = LIMIT - (time.monotonic() - started)
        shutdowns = [provider.shutdown for provider in _taken]
        _run(shutdowns, _taken, telemetry.settings.flush_timeout, left)


def flush(telemetry: Telemetry) -> None:
    """Flush spans and logs within the deadline.

    Never metrics in a forked child: its reader may have inherited a held lock.
    """
    found = [provider for provider in _found(telemetry) if not isinstance(provider, MeterProvider)]
    flushes = [provider.force_flush for provider in found]
    _run(flushes, found, telemetry.settings.flush_timeout, LIMIT)


def _found(telemetry: Telemetry) -> list[Any]:
    given = (telemetry.tracer_provider, telemetry.logger_provider, telemetry.meter_provider)
    return providers.all_providers(*(provider for provider in given if provider is not None))


def _run(calls: Sequence[Callable[[], Any]], watched: Sequence[Any], idle: float, limit: float) -> None:
    """Call each in a thread of its own; give up when nothing moves or the limit is reached."""
    threads = [threading.Thread(target=_quietly, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit
    moved, last = time.monotonic(), None
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        next(thread for thread in threads if thread.is_alive()).join(_STEP)
        state = [*map(providers.waiting, watched), *(thread.is_alive() for thread in threads)]
        if state != last:
            moved, last = time.monotonic(), state
        if time.monotonic() - moved > idle:
            return


def _quietly(call: Callable[[], Any]) -> None:
    with Guarded("exit"):
        call()
