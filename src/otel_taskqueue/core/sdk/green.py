"""The SDK's threads across gevent's and eventlet's monkey patching.

Threads that were started before it keep native locks which patched code can never release: a
worker prints tracebacks when it stops, or does not stop. So they end before the patching and are
started again after it, with what waited in their queues. By then they are greenlets: what they do
must never wait in C, or every other greenlet waits too. HTTP waits in patched sockets; a call of
gRPC waits in C, so it is made in a native thread of its own.
"""

from __future__ import annotations

import _thread
import contextvars
import functools
import threading
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.sdk import metric_readers, providers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: An idle thread ends at once; one that is exporting is left to itself after this time (s).
_PATIENCE: Final = 0.2
#: How often a greenlet looks whether its native thread is done (s): at first, and at last.
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.05
#: This module is imported right before the first patching: here is still the native one.
_start_native = _thread.start_new_thread


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
        for exporting in (*self._batches, *self._readers):
            with Guarded("monkey patching"):
                _keep_off_the_hub(exporting._exporter)  # noqa: SLF001
        for batch in self._batches:
            with Guarded("monkey patching"):
                waiting = list(batch._queue)  # noqa: SLF001
                batch._at_fork_reinit()  # noqa: SLF001
                batch._queue.extend(waiting)  # noqa: SLF001
        for reader in self._readers:
            with Guarded("monkey patching"):
                # Held while an export waits: with a native lock a flush would stop every greenlet.
                reader._export_lock = threading.Lock()  # noqa: SLF001
                reader._shutdown_event = threading.Event()  # noqa: SLF001
                reader._at_fork_reinit()  # noqa: SLF001


class _Stub:
    """The stub of a gRPC exporter: each call waits in a native thread, and the greenlet looks for its end.

    Only the call itself: the exporter's locks, retries and log lines stay with the greenlets, as
    eventlet's locks know no other thread.
    """

    def __init__(self, stub: Any) -> None:
        self._export = stub.Export

    def Export(self, *args: Any, **options: Any) -> Any:  # noqa: N802  gRPC's name
        """As gRPC's own; its context says that nobody shall make a span of it."""
        call = functools.partial(self._export, *args, **options)
        return _in_native_thread(functools.partial(contextvars.copy_context().run, call))


def _in_native_thread(call: Callable[[], Any]) -> Any:
    ends: list[Callable[[], Any]] = []
    _start_native(_run, (call, ends))
    look, never = _FIRST_LOOK, threading.Event()
    while not ends:
        # No lock of either library may be released by another thread: so nobody rings.
        never.wait(look)
        look = min(2 * look, _LAST_LOOK)
    return ends[0]()


def _run(call: Callable[[], Any], ends: list[Callable[[], Any]]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  raised where the greenlet waits
        ends.append(functools.partial(_raise, error))
    else:
        ends.append(lambda: result)


def _raise(error: BaseException) -> None:
    raise error


def _keep_off_the_hub(exporter: Any) -> None:
    """Also when an exporter of the user hands on to it. Where threads are not patched there is no hub."""
    if _thread.start_new_thread is _start_native:
        return
    for each in (exporter, *getattr(exporter, "__dict__", {}).values()):
        stub = getattr(each, "_client", None)
        if hasattr(stub, "Export") and hasattr(each, "_stub") and not isinstance(stub, _Stub):
            each._client = _Stub(stub)  # noqa: SLF001
            each._stub = functools.partial(_connected, each._stub)  # noqa: SLF001  it may connect anew


def _connected(make: Callable[[Any], Any], channel: Any) -> _Stub:
    return _Stub(make(channel))


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
