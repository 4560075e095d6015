"""What an RQ worker tells of itself: whether it runs, its one slot, the work-horses that ended and why."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from otel_taskqueue import semconv
from otel_taskqueue.core import attempts, usage, worker
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.worker import Worker
from otel_taskqueue.rq import compat, notes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from otel_taskqueue.core.telemetry import Telemetry
    from otel_taskqueue.rq.notes import Watch

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


@contextmanager
def running(telemetry: Telemetry, rq_worker: Any) -> Generator[None]:
    """The worker runs; an error that ends it is a crash, after which nothing more is said.

    RQ swallows such an error and returns: `failed` has noted it.
    """
    about = Worker(semconv.RQ, rq_worker.name, _one, lambda: _used(telemetry))
    with Guarded("metrics"):
        telemetry.metrics.workers.enter(about)
        usage.configure(cpu=True, memory=True)  # a SimpleWorker runs the jobs itself, one at a time
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        telemetry.metrics.workers.leave(about)
        raise
    if not notes.of_worker(rq_worker).failed:
        telemetry.metrics.workers.leave(about)


def dequeue(_telemetry: Telemetry) -> Wrapper:
    """Wrap `dequeue_job_and_maintain_ttl`: an error that leaves it, or `execute_job`, ends the worker."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def dequeue_job(worker: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(worker, *args, **kwargs)
            except Exception as error:
                failed(worker, error)
                raise

        return dequeue_job

    return wrapper


def failed(rq_worker: Any, error: BaseException) -> None:
    """An error is about to end the worker's loop, unless it is the way in which RQ stops it."""
    with Guarded("metrics", leaving=True):
        if isinstance(error, Exception) and not compat.stops(error):
            notes.of_worker(rq_worker).failed = True


def horse_ended(telemetry: Telemetry, rq_worker: Any, watch: Watch, *, oom: bool) -> None:
    """A work-horse ended."""
    with Guarded("metrics", leaving=True):
        reason = worker.TIME_LIMIT if watch.overdue else worker.reason_of(watch.status, oom=oom)
        telemetry.metrics.workers.exited(semconv.RQ, rq_worker.name, reason)


def _one() -> int:
    return 1


def _used(telemetry: Telemetry) -> int:
    return len([job for job, _ in attempts.running(telemetry.metrics) if job.library == semconv.RQ])
