"""What the worker's parent knows of the work-horse: the one witness that survives it.

Each wrapper calls RQ's own method exactly once, outside of our guard, and stands on the class that
defines the method: a subclass which overrides one and calls its base class goes through two of them.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context

from otel_taskqueue import semconv
from otel_taskqueue.core import arbiter, attempts, delivery, lifecycle, oom, quiet, usage
from otel_taskqueue.core.failure import SUCCESS
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.message import Incoming
from otel_taskqueue.core.relay import results
from otel_taskqueue.rq import abandoned, compat, notes, verdicts, vitals, ways
from otel_taskqueue.rq import job as _job
from otel_taskqueue.rq.notes import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from opentelemetry.context import Context

    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

_EXIT_OK = 0


def execute_job(_telemetry: Telemetry) -> Wrapper:
    """Wrap `execute_job`: when it returns or raises, the attempt of its work-horse is over."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def execute(worker: Any, *args: Any, **kwargs: Any) -> Any:
            error = None
            try:
                return original(worker, *args, **kwargs)
            except BaseException as raised:
                error = raised
                vitals.failed(worker, raised)
                raise
            finally:
                try:
                    _conclude(worker, error)
                except BaseException:
                    _conclude(worker, error)  # a stop struck: it strikes once, and the verdict is written
                    raise
                finally:
                    del error

        return execute

    return wrapper


def fork_work_horse(telemetry: Telemetry) -> Wrapper:
    """Wrap `fork_work_horse`: the relay must exist before the first fork, the serial before each."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def fork(worker: Any, *args: Any, **kwargs: Any) -> Any:
            job = notes.argument(args, kwargs, "job")
            with Guarded("watch"):
                _begin(telemetry, worker, job)
            watch = notes.watch_of(worker, job)
            if watch is None:
                return original(worker, *args, **kwargs)
            with results.handing_down(watch.lane if compat.spawns(worker) else None, job.id):
                result = original(worker, *args, **kwargs)
            watch.forked = True
            return result

        return fork

    return wrapper


def wait_for_horse(_telemetry: Telemetry) -> Wrapper:
    """Wrap `wait_for_horse`: RQ throws the status away when it has killed the horse itself."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def wait(worker: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(worker, *args, **kwargs)
            watch = notes.of_worker(worker).watch
            if watch is not None and result and result[1] is not None:
                watch.status = result[1]
                watch.attempt.usage = usage.of_rusage(result[2] if len(result) > 2 else None)  # noqa: PLR2004
                if watch.status != _EXIT_OK:
                    with Guarded("watch"):
                        arbiter.span_context(watch.attempt)  # for the lines about its death, which come next
            return result

        return wait

    return wrapper


def work_horse_killed(telemetry: Telemetry) -> Wrapper:
    """Wrap `handle_work_horse_killed`: RQ's judgement that the job did not end by itself."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def handle_killed(worker: Any, job: Any, retpid: Any, *args: Any, **kwargs: Any) -> Any:
            watch = notes.watch_of(worker, job)
            if watch is None:
                return original(worker, job, retpid, *args, **kwargs)
            watch.killed = True
            watch.overdue = retpid is None and watch.status is not None
            with _below(telemetry, watch, loud=True):  # the user's handler
                return original(worker, job, retpid, *args, **kwargs)

        return handle_killed

    return wrapper


def handle_job_failure(telemetry: Telemetry) -> Wrapper:
    """Wrap `handle_job_failure`: in the parent it retries, and enqueues dependents, for a dead work-horse."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def handle_failure(worker: Any, *args: Any, **kwargs: Any) -> Any:
            job = notes.argument(args, kwargs, "job")
            if notes.of_worker(worker).performing is not None:
                return original(worker, *args, **kwargs)
            watch = notes.watch_of(worker, job)
            if watch is None:  # maintenance: it was taken from the queue by a worker that is no more
                with abandoned.reporting(telemetry):
                    abandoned.stuck(job)
                    return original(worker, *args, **kwargs)
            # RQ forgets about the command in here.
            watch.stopped = watch.stopped or getattr(worker, "_stopped_job_id", None) == job.id
            with _below(telemetry, watch):
                return original(worker, *args, **kwargs)

        return handle_failure

    return wrapper


def stopped_callback(telemetry: Telemetry) -> Wrapper:
    """Wrap `Job.execute_stopped_callback`: user code in the parent, below the attempt's span."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def execute_stopped_callback(job: Any, *args: Any, **kwargs: Any) -> Any:
            watch = _watched.get(job.id)
            if watch is None:
                return original(job, *args, **kwargs)
            with _below(telemetry, watch, loud=True):
                return original(job, *args, **kwargs)

        return execute_stopped_callback

    return wrapper


#: Job id -> the one attempt that this worker's horse runs; the stopped callback knows no worker.
_watched: dict[str, Watch] = {}


def _begin(telemetry: Telemetry, worker: Any, job: Any) -> None:
    about = notes.of_worker(worker)
    if notes.watch_of(worker, job) is not None:
        return  # a subclass calls its base class
    about.watch = None
    if not delivery.reports(telemetry):
        return
    relays = not compat.spawns(worker) and delivery.prepare(telemetry)
    lane = None if relays else results.make()
    carrier = _job.carrier_of(job)
    link = _job.came_back(job, carrier) or _job.style_of(job, telemetry.settings) == "link"
    view = _job.of_watch(job, carrier, worker.name)
    incoming = Incoming(view, carrier, judge=_no_verdict, link=link)
    attempt = attempts.open_attempt(telemetry, lambda _attempt: incoming)
    attempt.accepted = time.time_ns()
    about.watch = _watched[job.id] = Watch(attempt, job, oom.kills() if relays else None, lane)


def _conclude(worker: Any, error: BaseException | None) -> None:
    about = notes.of_worker(worker)
    watch = about.watch
    if watch is None or not watch.is_ours:
        return
    watch.attempt.result = results.read(watch.lane) or watch.attempt.result
    by_kernel = bool(watch.status) and oom.rose_since(watch.oom_kills)
    if watch.forked and watch.status is not None:
        vitals.horse_ended(watch.attempt.telemetry, worker, watch, oom=by_kernel)
    if not watch.attempt.done:
        _write_verdict(watch, error, oom=by_kernel)
    about.watch = None
    _watched.pop(watch.job.id, None)


def _write_verdict(watch: Watch, error: BaseException | None, *, oom: bool) -> None:
    with Guarded("verdict", leaving=True):
        if not watch.forked:
            attempts.settle(watch.attempt)  # nothing has run
        elif watch.stopped:
            arbiter.overrule(watch.attempt, verdicts.of_stop(watch), reaped=True)
        elif watch.killed:
            again = notes.of_job(watch.job).again
            verdict = verdicts.of_dead_horse(watch, again, oom=oom)
            arbiter.overrule(watch.attempt, verdict, reaped=True)
        elif error is not None and watch.status != _EXIT_OK:
            arbiter.overrule(watch.attempt, verdicts.of_shutdown(watch, error), reaped=True)
            _tell_maintenance(watch)
        else:
            _report(watch)


def _report(watch: Watch) -> None:
    """The work-horse had the last word; where that was lost, what RQ has stored tells."""
    attempt, verdict = watch.attempt, SUCCESS
    reader = delivery.reader()
    if reader is not None and attempt.ended is None:
        reader.drain()
    if attempt.ended is None and attempt.result is None:
        if _is_left(watch):
            arbiter.overrule(attempt, verdicts.of_silent_horse(watch), reaped=True)
            _tell_maintenance(watch)
            return
        verdict = _stored_verdict(watch.job)
    arbiter.report(attempt, verdict, reaped=True)


def _is_left(watch: Watch) -> bool:
    """Whether the work-horse left by `os._exit(0)`: RQ believes it, and its job stays as started."""
    try:
        if compat.text(watch.job.get_status()) != "started":
            return False
        name = watch.job.connection.hget(watch.job.key, "worker_name")
    except Exception:  # noqa: BLE001  the job has expired, or Redis is away
        return False
    return compat.text(name) == watch.attempt.incoming.job.worker  # else its next attempt runs elsewhere


def _stored_verdict(job: Any) -> Verdict:
    try:
        job.get_status()
    except Exception:  # noqa: BLE001  the job has expired: only finished ones do
        return SUCCESS
    status = compat.status_of(job)
    return verdicts.of_status(status, compat.stored_exception(job) if status == "failed" else "")


def _tell_maintenance(watch: Watch) -> None:
    """RQ leaves the job as started: its maintenance will find it, and must not report it again."""
    job, carrier = watch.job, watch.attempt.incoming.carrier
    if job.connection.exists(job.key):
        reported = f"{semconv.JOB_RUN_REPORTED}@{carrier.get(semconv.ENQUEUED_AT, '')}"
        job.connection.hset(job.key, semconv.JOB_RUN, reported)


def _no_verdict(_error: BaseException) -> None:
    """No job runs in this process that could raise."""


def _context_below(telemetry: Telemetry, watch: Watch, *, loud: bool) -> Context:
    attempt = watch.attempt
    below = arbiter.context_of(attempt)
    if telemetry.settings.suppress_broker_spans and not loud:
        below = quiet.quieted(below)
    return lifecycle.with_current(attempt.incoming, arbiter.span_context(attempt), below)


@contextmanager
def _below(telemetry: Telemetry, watch: Watch, *, loud: bool = False) -> Generator[None]:
    """What the parent does on behalf of the attempt belongs below its span."""
    token = way = None
    with Guarded("watch"):
        token = context.attach(_context_below(telemetry, watch, loud=loud))
        way = ways.user_code() if loud else None
    try:
        yield
    finally:
        if way is not None:
            ways.leave_user_code(way)
        if token is not None:
            context.detach(token)
