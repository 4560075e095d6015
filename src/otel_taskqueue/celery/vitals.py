"""What a Celery worker tells of itself: its slots, what it holds, the children that ended and why."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue import semconv
from otel_taskqueue.core import failure, oom, usage, worker
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

#: Exit status of a child that has done its number of tasks (billiard.pool.EX_RECYCLE).
_RECYCLED: Final = 0x9B
#: billiard's handler of SIGTERM leaves with ``-(256 - signum)``.
_TERMINATED: Final = 15
_FAILED: Final = 1

_current: Worker | None = None
_controller: Any = None
_evidence: oom.Evidence | None = None
#: Pids of children which the pool kills for their hard time limit.
_limited: set[int] = set()
_counted = "_otel_taskqueue_counted"


def enter(telemetry: Telemetry, controller: Any) -> None:
    """The worker starts."""
    global _current, _controller, _evidence  # noqa: PLW0603  one worker per process
    _controller, _evidence = controller, oom.Evidence()
    _current = Worker(
        semconv.CELERY,
        controller.hostname,
        functools.partial(_slots, controller),
        functools.partial(_active, controller),
        functools.partial(_prefetched, controller),
    )
    telemetry.metrics.workers.enter(_current)
    pool = str(getattr(controller.pool_cls, "__module__", "")).rpartition(".")[2]
    # Greenlets share a thread, and threads share the memory: neither is the attempt's own.
    usage.configure(cpu=pool in {"solo", "thread"}, memory=pool == "solo")


def leave(telemetry: Telemetry, controller: Any) -> None:
    """The worker has stopped; when nobody asked it to, it crashed and says nothing more."""
    if _current is not None and not _crashed(controller):
        telemetry.metrics.workers.leave(_current)


def limited(pid: int | None) -> None:
    """This child is killed for its hard time limit."""
    if pid is not None:
        _limited.add(pid)


def joined(telemetry: Telemetry) -> Wrapper:
    """Wrap `_join_exited_workers` of billiard's pools: it forgets the children that ended."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def join_exited_workers(pool: Any, *args: Any, **kwargs: Any) -> Any:
            before = list(pool._pool)  # noqa: SLF001  billiard shows them nowhere else
            try:
                return original(pool, *args, **kwargs)
            finally:
                if before != pool._pool and _is_ours(pool):  # noqa: SLF001
                    _count(telemetry, before)

        return join_exited_workers

    return wrapper


def stopped(telemetry: Telemetry) -> Wrapper:
    """Wrap `TaskPool.on_stop` and `on_terminate` of prefork: the last children end here."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def stop_pool(pool: Any, *args: Any, **kwargs: Any) -> Any:
            children = list(getattr(pool._pool, "_pool", ()))  # noqa: SLF001  as above
            try:
                return original(pool, *args, **kwargs)
            finally:
                _count(telemetry, children)

        return stop_pool

    return wrapper


def _is_ours(pool: Any) -> bool:
    """Whether it is the worker's pool: an application may have pools of its own."""
    return getattr(getattr(_controller, "pool", None), "_pool", None) is pool


def _count(telemetry: Telemetry, children: Iterable[Any]) -> None:
    with Guarded("metrics", leaving=True):
        for child in children:
            status = child.exitcode
            if status is None or _current is None or hasattr(child, _counted):
                continue
            setattr(child, _counted, True)
            reason = _reason(child.pid, status)
            telemetry.metrics.workers.exited(_current.library, _current.name, reason)


def _reason(pid: int, status: int) -> str:
    if pid in _limited:
        _limited.discard(pid)
        return worker.TIME_LIMIT
    if status < 0:
        name = failure.signal_name(-status)
        is_oom = name == "SIGKILL" and _evidence is not None and _evidence.rose()
        return worker.OOM if is_oom else name
    if status == _TERMINATED:
        return failure.signal_name(status)
    return {0: worker.OK, _RECYCLED: worker.RECYCLED}.get(status, worker.EXIT_CODE)


def _slots(controller: Any) -> int | None:
    try:
        return int(controller.pool.num_processes)
    except AttributeError:  # it is only just starting
        return None


def _active(_controller: Any) -> int:
    return len(_state().active_requests)


def _prefetched(_controller: Any) -> int:
    state = _state()
    return max(0, len(state.reserved_requests) - len(state.active_requests))


def _crashed(controller: Any) -> bool:
    state = _state()
    asked = (
        found is not None and found is not False for found in (state.should_stop, state.should_terminate)
    )
    return controller.exitcode == _FAILED and not any(asked)


def _state() -> Any:
    from celery.worker import state  # noqa: PLC0415  never before Celery itself

    return state
