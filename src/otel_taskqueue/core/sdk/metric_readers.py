"""Metric readers across a fork: what a process has inherited is never exported by it.

The SDK starts its reader again in every forked process, with the parent's sums (exported once more
under a new instance id) and with the parent's locks (held for ever when it was exporting just then).
When the SDK hides what is needed here the functions do nothing, and ``doctor`` says so.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, Any

from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LOCK, _RLOCK = type(threading.Lock()), type(threading.RLock())


def consumer_of(provider: Any) -> Any:
    """Where the instruments of a provider hand their measurements in; None when the SDK hides it."""
    consumer = getattr(provider, "_measurement_consumer", None)
    known = ("consume_measurement", "_reader_storages", "_sdk_config")
    return consumer if all(hasattr(consumer, name) for name in known) else None


def of(provider: Any) -> list[Any]:
    """The readers of a provider."""
    return list(getattr(consumer_of(provider), "_reader_storages", ()))


def guard(providers: Iterable[Any]) -> None:
    """Before a fork: the thread that the SDK starts in the child does nothing, before anybody mutes it."""
    for provider in providers:
        for reader in of(provider):
            if hasattr(reader, "_ticker"):
                reader.__dict__.pop("_ticker", None)
                reader._ticker = functools.partial(_tick, os.getpid(), reader._ticker)  # noqa: SLF001


def _tick(owner: int, ticker: Callable[[], None]) -> None:
    if os.getpid() == owner:
        ticker()


def mute(providers: Iterable[Any]) -> None:
    """Right after a fork: from here on the readers of this process answer at once and do nothing."""
    for provider in providers:
        with Guarded("fork"):
            _forget(provider)
            for reader in of(provider):
                _mute(reader)


def start_afresh(providers: Iterable[Any]) -> None:
    """In a forked process which exports what it measures itself: empty, with locks of its own."""
    for provider in providers:
        with Guarded("fork"):
            _forget(provider)
            for reader in of(provider):
                _resume(reader)


def count_exports(provider: Any) -> Callable[[], int]:
    """How many exports of a provider's readers have begun or ended since now."""
    steps: list[None] = []
    for reader in of(provider):
        if hasattr(reader, "_receive_metrics"):
            reader._receive_metrics = functools.partial(_receive, steps, reader._receive_metrics)  # noqa: SLF001
    return steps.__len__


def _receive(steps: list[None], receive: Callable[..., None], *args: Any, **options: Any) -> None:
    steps.append(None)
    try:
        receive(*args, **options)
    finally:
        steps.append(None)


def _forget(provider: Any) -> None:
    """Drop the sums of the parent, and every lock that one of its threads may hold."""
    consumer = consumer_of(provider)
    if consumer is None:
        return
    consumer._reader_storages = {  # noqa: SLF001
        reader: type(storage)(
            consumer._sdk_config,  # noqa: SLF001
            reader._instrument_class_temporality,  # noqa: SLF001
            reader._instrument_class_aggregation,  # noqa: SLF001
        )
        for reader, storage in consumer._reader_storages.items()  # noqa: SLF001
    }
    meters = getattr(provider, "_meters", {}).values()
    for meter in meters:
        _repair(meter)
    for each in (provider, consumer, *meters):
        _renew_locks(each)


def _repair(meter: Any) -> None:
    """An instrument that the parent was just creating can be created here."""
    names, made = getattr(meter, "_instrument_ids", {}), getattr(meter, "_instrument_id_instrument", None)
    if made is not None:
        for name in [name for name in names if name not in made]:
            del names[name]


def _renew_locks(owner: Any) -> None:
    for name, value in list(getattr(owner, "__dict__", {}).items()):
        if type(value) is _LOCK:
            setattr(owner, name, threading.Lock())
        elif type(value) is _RLOCK:
            setattr(owner, name, threading.RLock())


def _mute(reader: Any) -> None:
    """The thread, which the SDK has just started, ends at its next tick.

    The old event is left alone: a thread of the parent may have held its lock.
    """
    for name, answer in (("collect", _nothing), ("shutdown", _nothing), ("force_flush", _done)):
        setattr(reader, name, answer)
    _renew_locks(reader)
    if hasattr(reader, "_shutdown_event"):
        reader._shutdown_event = threading.Event()  # noqa: SLF001
        reader._shutdown_event.set()  # noqa: SLF001


def _resume(reader: Any) -> None:
    for name in ("collect", "shutdown", "force_flush", "_ticker"):
        reader.__dict__.pop(name, None)
    _renew_locks(reader)
    _renew_locks(getattr(reader, "_exporter", None))
    if getattr(reader, "_daemon_thread", None) is not None and hasattr(reader, "_shutdown_event"):
        ticks = reader._shutdown_event = _Ticks()  # noqa: SLF001
        reader._at_fork_reinit()  # noqa: SLF001  the SDK has no public start
        ticks.thread = reader._daemon_thread  # noqa: SLF001


class _Ticks(threading.Event):
    """The shutdown event of a reader with one thread: an older one ends when it asks."""

    def __init__(self) -> None:
        super().__init__()
        self.thread: Any = None
        self._pid = os.getpid()

    def wait(self, timeout: float | None = None) -> bool:
        """As the base class, for the one thread of this process."""
        if self.thread not in {None, threading.current_thread()} and self._pid == os.getpid():
            return True
        return super().wait(timeout)


def _nothing(*_args: Any, **_options: Any) -> None:
    """Collect, or shut down, nothing."""


def _done(*_args: Any, **_options: Any) -> bool:
    """Nothing waits that could be flushed."""
    return True
