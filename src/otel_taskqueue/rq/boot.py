"""What happens when a worker, a scheduler or another process of RQ starts and stops."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import context

from otel_taskqueue.core import delivery, forks, quiet
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.rq import logs, vitals

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]
    Adopt = Callable[[Any], None]


def quietly(telemetry: Telemetry) -> Wrapper:
    """Wrap what RQ does for itself: its Redis calls make no spans."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        if not telemetry.settings.suppress_broker_spans:
            return original

        def quiet_call(*args: Any, **kwargs: Any) -> Any:
            token = context.attach(quiet.quieted())
            try:
                return original(*args, **kwargs)
            finally:
                context.detach(token)

        return quiet_call

    return wrapper


def worker_made(telemetry: Telemetry, adopt: Adopt) -> Wrapper:
    """Wrap `__init__` of the worker classes: by now the worker's own class is known."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        init = quietly(telemetry)(original)

        def init_worker(worker: Any, *args: Any, **kwargs: Any) -> Any:
            with Guarded("worker class"):
                adopt(type(worker))
            return init(worker, *args, **kwargs)

        return init_worker

    return wrapper


def work(telemetry: Telemetry, adopt: Adopt) -> Wrapper:
    """Wrap `BaseWorker.work`: from its start to its end, in a process of its own or in a pool's child."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        run = quietly(telemetry)(original)

        def work_off(worker: Any, *args: Any, **kwargs: Any) -> Any:
            with Guarded("worker start"):
                adopt(type(worker))
                delivery.bound_exit(telemetry)
                if is_forked_by_multiprocessing():
                    forks.start_afresh(telemetry)
                forks.watch(telemetry)
                logs.ship(telemetry, worker)
            try:
                with vitals.running(telemetry, worker):
                    return run(worker, *args, **kwargs)
            finally:
                if is_forked_by_multiprocessing():
                    delivery.finish(telemetry)

        return work_off

    return wrapper


def pool(telemetry: Telemetry) -> Wrapper:
    """Wrap `WorkerPool.start`: its workers are silent from the fork on until they start to work."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def start_pool(*args: Any, **kwargs: Any) -> Any:
            with Guarded("pool start"):
                forks.watch(telemetry)
            return original(*args, **kwargs)

        return start_pool

    return wrapper


def schedule(telemetry: Telemetry) -> Wrapper:
    """Wrap `RQScheduler.work` and `CronScheduler.start`: what they sent leaves before they end."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        run = quietly(telemetry)(original)

        def run_scheduler(*args: Any, **kwargs: Any) -> Any:
            delivery.bound_exit(telemetry)
            if is_forked_by_multiprocessing():
                forks.start_afresh(telemetry)
            try:
                return run(*args, **kwargs)
            finally:
                if is_forked_by_multiprocessing():
                    delivery.leave_child(telemetry, share=0.3)  # the worker waits for it

        return run_scheduler

    return wrapper


def is_forked_by_multiprocessing() -> bool:
    """Whether this process ends by ``os._exit``, where no exit handler runs."""
    module = sys.modules.get("multiprocessing")
    return module is not None and module.parent_process() is not None
