"""The SDK's threads across gevent's and eventlet's monkey patching.

Threads that were started before it keep native locks which patched code can never release: a
worker prints tracebacks when it stops, or does not stop. So they end before the patching and are
started again after it, with what waited in their queues.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.sdk import metric_readers, providers

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An idle thread ends at once; one that is exporting is left to itself after this time (s).
_PATIENCE: Final = 0.2


class Paused:
    """The batching threads of all providers, stopped now; `resume` starts them again."""

    def __init__(self) -> None:
        self._batches: list[Any] = []
        self._readers: list[Any] = []
        for batch in _batches():
            with Guarded("monkey patching"):
                _stop_batch(batch)
                self._batches.append(batch)
        for reader in _metric_readers():
            with Guarded("monkey patching"):
                reader._shutdown_event.set()  # noqa: SLF001  the SDK has no public pause
                reader._daemon_thread.join(_PATIENCE)  # noqa: SLF001
                self._readers.append(reader)

    def resume(self) -> None:
        """Start the threads again, by now of the patched kind."""
        for batch in self._batches:
            with Guarded("monkey patching"):
                waiting = list(batch._queue)  # noqa: SLF001
                batch._at_fork_reinit()  # noqa: SLF001
                batch._queue.extend(waiting)  # noqa: SLF001
        for reader in self._readers:
            with Guarded("monkey patching"):
                reader._shutdown_event = threading.Event()  # noqa: SLF001
                reader._at_fork_reinit()  # noqa: SLF001


def _stop_batch(batch: Any) -> None:
    thread, batch._shutdown = batch._worker_thread, True  # noqa: SLF001
    batch._worker_awaken.set()  # noqa: SLF001
    thread.join(_PATIENCE)
    batch._shutdown = False  # noqa: SLF001


def _batches() -> Iterator[Any]:
    for provider in providers.all_providers():
        for processor in providers.processors_of(provider) or ():
            batch = getattr(processor, "_batch_processor", None)
            if hasattr(batch, "_worker_thread") and hasattr(batch, "_at_fork_reinit"):
                yield batch


def _metric_readers() -> Iterator[Any]:
    for provider in providers.all_providers():
        for reader in metric_readers.of(provider):
            if getattr(reader, "_daemon_thread", None) is not None and hasattr(reader, "_at_fork_reinit"):
                yield reader
