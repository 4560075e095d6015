"""What happens when a worker, a child or beat starts and stops."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import context

from otel_taskqueue.celery import takeover, vitals
from otel_taskqueue.core import delivery, forks, quiet
from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def worker_start(telemetry: Telemetry) -> Wrapper:
    """Wrap `WorkController.start`: the worker's own broker traffic makes no spans."""

    def wrapper(start: Callable[..., Any]) -> Callable[..., Any]:
        def start_worker(worker: Any, *args: Any, **kwargs: Any) -> Any:
            with Guarded("worker start"):
                takeover.displace(telemetry.settings)
                delivery.bound_exit(telemetry)
                forks.watch(telemetry)
                vitals.enter(telemetry, worker)
            token = context.attach(_quieted(telemetry))
            try:
                return start(worker, *args, **kwargs)
            finally:
                context.detach(token)
                with Guarded("worker stop", leaving=True):
                    vitals.leave(telemetry, worker)

        return start_worker

    return wrapper


def pool_start(telemetry: Telemetry) -> Wrapper:
    """Wrap `TaskPool.on_start` of prefork: the relay must exist before the first fork."""

    def wrapper(on_start: Callable[..., Any]) -> Callable[..., Any]:
        def start_pool(pool: Any) -> Any:
            with Guarded("relay"):
                if pool.forking_enable:
                    delivery.prepare(telemetry)
            return on_start(pool)

        return start_pool

    return wrapper


_ends_by_wrapper = False


def ends_by_wrapper() -> bool:
    """Whether this child's `process_destructor` is ours: the pool binds it before the fork."""
    return _ends_by_wrapper


def child_start(telemetry: Telemetry) -> Wrapper:
    """Wrap `process_initializer`: from here on this child runs jobs."""

    def wrapper(initialize: Callable[..., Any]) -> Callable[..., Any]:
        def process_initializer(*args: Any, **kwargs: Any) -> Any:
            global _ends_by_wrapper  # noqa: PLW0603  one child, one process
            _ends_by_wrapper = True
            delivery.enter_child()
            context.attach(context.Context())  # the fork copied what was current in the parent
            result = initialize(*args, **kwargs)
            with Guarded("child start"):
                takeover.displace(telemetry.settings)
                delivery.child_is_ready()
            return result

        return process_initializer

    return wrapper


def child_end(telemetry: Telemetry) -> Wrapper:
    """Wrap `process_destructor`: the last code of a child that ends by itself."""

    def wrapper(destruct: Callable[..., Any]) -> Callable[..., Any]:
        def process_destructor(*args: Any, **kwargs: Any) -> Any:
            try:
                return destruct(*args, **kwargs)
            finally:
                delivery.leave_child(telemetry)

        return process_destructor

    return wrapper


def before_reload(telemetry: Telemetry) -> Wrapper:
    """Wrap `_reload_current_worker` (SIGHUP): it replaces the process before any exit handler of ours."""

    def wrapper(reload: Callable[..., Any]) -> Callable[..., Any]:
        def reload_current_worker(*args: Any, **kwargs: Any) -> Any:
            with Guarded("exit", leaving=True):
                from otel_taskqueue.core.sdk import exit  # noqa: A004, PLC0415  needs the SDK

                exit.finish(telemetry)
            return reload(*args, **kwargs)

        return reload_current_worker

    return wrapper


def beat_start(telemetry: Telemetry) -> Wrapper:
    """Wrap `Service.start` of beat: embedded beat is stopped by SIGTERM and must flush before it dies."""

    def wrapper(start: Callable[..., Any]) -> Callable[..., Any]:
        def start_beat(service: Any, *args: Any, **kwargs: Any) -> Any:
            with Guarded("beat start"):
                delivery.bound_exit(telemetry)
                if forks.is_muted():
                    forks.start_afresh(telemetry)
                if kwargs.get("embedded_process") or (args and args[0]):
                    signal.signal(signal.SIGTERM, _flush_and_die(telemetry))
            return start(service, *args, **kwargs)

        return start_beat

    return wrapper


def bookkeeping(telemetry: Telemetry) -> Wrapper:
    """Wrap what the worker does for itself: in the middle of a job, or in a thread or greenlet of its own."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        if not telemetry.settings.suppress_broker_spans:
            return original

        def quiet_bookkeeping(*args: Any, **kwargs: Any) -> Any:
            if quiet.by_us():
                return original(*args, **kwargs)
            token = context.attach(quiet.quieted())
            try:
                return original(*args, **kwargs)
            finally:
                context.detach(token)

        return quiet_bookkeeping

    return wrapper


def errbacks(_telemetry: Telemetry) -> Wrapper:
    """Wrap `Backend._call_task_errbacks`: user code in the middle of Celery's bookkeeping."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def loud_errbacks(*args: Any, **kwargs: Any) -> Any:
            token = context.attach(quiet.loud())
            try:
                return original(*args, **kwargs)
            finally:
                context.detach(token)

        return loud_errbacks

    return wrapper


def around_patching(_telemetry: Telemetry) -> Wrapper:
    """Wrap gevent's `patch_all` and eventlet's `monkey_patch`: the SDK's threads must not see it."""

    def wrapper(patch: Callable[..., Any]) -> Callable[..., Any]:
        def patch_around_threads(*args: Any, **kwargs: Any) -> Any:
            paused = None
            with Guarded("monkey patching"):
                if "opentelemetry.sdk" in sys.modules:
                    from otel_taskqueue.core.sdk.green import Paused  # noqa: PLC0415  needs the SDK

                    paused = Paused()
            try:
                return patch(*args, **kwargs)
            finally:
                if paused is not None:
                    paused.resume()

        return patch_around_threads

    return wrapper


def started_late(telemetry: Telemetry) -> None:
    """`instrument()` was called: perhaps in a child, by `worker_process_init`, as is documented."""
    delivery.bound_exit(telemetry)


def _quieted(telemetry: Telemetry) -> Any:
    return quiet.quieted() if telemetry.settings.suppress_broker_spans else context.get_current()


def _flush_and_die(telemetry: Telemetry) -> Callable[..., None]:
    def on_sigterm(signum: int, _frame: Any) -> None:
        delivery.leave_child(telemetry)
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)

    return on_sigterm
