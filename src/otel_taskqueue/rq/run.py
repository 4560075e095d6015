"""Where RQ runs an attempt: `perform_job` in the work-horse or the worker itself, `run_sync` in a caller."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import context

from otel_taskqueue import semconv
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core import delivery, quiet
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.lifecycle import Processing, current_attempt
from otel_taskqueue.core.logs import channels
from otel_taskqueue.core.message import Incoming
from otel_taskqueue.core.relay import results
from otel_taskqueue.rq import abandoned, boot, callbacks, logs, notes, verdicts, ways
from otel_taskqueue.rq import job as _job

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.job import Current
    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def work_horse(telemetry: Telemetry) -> Wrapper:
    """Wrap `main_work_horse`: from here on this process runs one job; it ends by `os._exit`.

    A spawned one looks worker, job and execution up before that: it is quiet as soon as it has RQ.
    """
    begins_here = telemetry.settings.suppress_broker_spans and _will_be_a_work_horse()

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        if begins_here and not quiet.by_us():
            context.attach(quiet.quieted())  # until the process ends; user code is loud as in every horse

        def main_work_horse(worker: Any, *args: Any, **kwargs: Any) -> Any:
            about = notes.of_worker(worker)
            if not about.is_horse:  # a subclass may call its base class
                about.is_horse = True
                delivery.enter_child()
                _find_way_home(about, notes.argument(args, kwargs, "job"))
                logs.ship(telemetry, worker, channels.HORSE)
            return original(worker, *args, **kwargs)

        return main_work_horse

    return wrapper


def _will_be_a_work_horse() -> bool:
    """Whether this process is `SpawnWorker`'s script, and still at its beginning.

    Its environment would not tell: programs that a job starts inherit it.
    """
    return "rq.worker" not in sys.modules and any("worker.main_work_horse(" in part for part in sys.orig_argv)


def _find_way_home(about: notes.WorkerNotes, job: Any) -> None:
    with Guarded("watch"):
        if about.watch is None:  # a new program: the worker that was forked knows what it watches
            results.take_up(job.id)
        else:
            results.inherit(about.watch.lane)


def perform(telemetry: Telemetry) -> Wrapper:
    """Wrap `perform_job`: the attempt's span around everything that RQ does for it in this process."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        run = boot.quietly(telemetry)(original)

        def perform_job(worker: Any, *args: Any, **kwargs: Any) -> Any:
            about, job = notes.of_worker(worker), notes.argument(args, kwargs, "job")
            if about.performing is job:  # a subclass calls its base class
                return original(worker, *args, **kwargs)
            about.performing = job
            try:
                with Processing(telemetry, _incoming, telemetry, worker, job) as attempt:
                    result = run(worker, *args, **kwargs)
                    with Guarded("verdict", leaving=True):
                        attempt.verdict = verdicts.of_run(notes.of_job(job))
                return result
            finally:
                about.performing = None
                if about.is_horse:
                    delivery.leave_child(telemetry)

        return perform_job

    return wrapper


def run_sync(telemetry: Telemetry) -> Wrapper:
    """Wrap `Queue.run_sync`: a queue with ``is_async=False`` runs the job inside of the enqueue call."""
    loud = loudly(telemetry)

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        run = boot.quietly(telemetry)(original)

        def run_sync_job(queue: Any, *args: Any, **kwargs: Any) -> Any:
            job = notes.argument(args, kwargs, "job")
            way = ways.user_code()
            try:
                with Processing(telemetry, _incoming_here, telemetry, job) as attempt:
                    with callbacks.wrapped(job, loud):
                        result = run(queue, *args, **kwargs)
                    with Guarded("verdict", leaving=True):
                        attempt.verdict = verdicts.of_run(notes.of_job(job))
                return result
            finally:
                ways.leave_user_code(way)

        return run_sync_job

    return wrapper


def run_job(_telemetry: Telemetry) -> Wrapper:
    """Wrap `Queue.run_job`: `run_sync` swallows what it raises."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def run_one_job(queue: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(queue, *args, **kwargs)
            except BaseException as error:
                with Guarded("verdict"):
                    notes.of_job(notes.argument(args, kwargs, "job")).error = error
                raise

        return run_one_job

    return wrapper


def loudly(_telemetry: Telemetry) -> Wrapper:
    """Wrap what calls user code and nothing else: its Redis calls are the user's, what it enqueues is new."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def call_user_code(*args: Any, **kwargs: Any) -> Any:
            way, token = ways.user_code(), context.attach(quiet.loud())
            try:
                return original(*args, **kwargs)
            finally:
                context.detach(token)
                ways.leave_user_code(way)

        return call_user_code

    return wrapper


def failure_callback(telemetry: Telemetry) -> Wrapper:
    """Wrap `Job.execute_failure_callback`: the first to hear of the job's own exception, in all versions."""
    loud = loudly(telemetry)

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        call = loud(original)

        def execute_failure_callback(job: Any, penalty: Any, *exc_info: Any) -> Any:
            with Guarded("verdict"):
                if not abandoned.found(job, exc_info):
                    _note_error(job, exc_info)
            return call(job, penalty, *exc_info)

        return execute_failure_callback

    return wrapper


def handle_exception(telemetry: Telemetry) -> Wrapper:
    """Wrap `handle_exception`: it hears of exceptions that no failure callback heard of."""
    loud = loudly(telemetry)

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        call = loud(original)

        def handle_job_exception(worker: Any, job: Any, *exc_info: Any) -> Any:
            with Guarded("verdict"):
                _note_error(job, exc_info)
            return call(worker, job, *exc_info)

        return handle_job_exception

    return wrapper


def job_retry(_telemetry: Telemetry) -> Wrapper:
    """Wrap `handle_job_retry`: the job has returned a `Retry`."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        marked = ways.marked(ways.RETRY, 1)(original)

        def handle_job_retry(worker: Any, *args: Any, **kwargs: Any) -> Any:
            with Guarded("verdict"):
                notes.of_job(notes.argument(args, kwargs, "job")).asked = True
            return marked(worker, *args, **kwargs)

        return handle_job_retry

    return wrapper


def prepare_for_execution(_telemetry: Telemetry) -> Wrapper:
    """Wrap `Job.prepare_for_execution`: the job's hash names its latest run, at no round trip.

    Its meta cannot: RQ does not write it again when a job ends, and tasks replace it.
    """

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def prepare(job: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(job, *args, **kwargs)
            with Guarded("process"):
                current = current_attempt()
                if current is not None and current.job.id == job.id:
                    pipeline = notes.argument(args, kwargs, "pipeline", 1)
                    pipeline.hset(job.key, semconv.JOB_RUN, _run_field(current))
            return result

        return prepare

    return wrapper


def restore(_telemetry: Telemetry) -> Wrapper:
    """Wrap `Job.restore`: whoever enqueues a job again wants to know of its latest run."""
    key = semconv.JOB_RUN.encode()

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def restore_job(job: Any, raw_data: Any, *args: Any, **kwargs: Any) -> Any:
            with Guarded("process"):
                field = raw_data.get(key) or raw_data.get(semconv.JOB_RUN)
                if field:
                    text = field.decode("ascii", "replace") if isinstance(field, bytes) else field
                    about = notes.of_job(job)
                    about.run, _, about.ran = text.partition("@")
            return original(job, raw_data, *args, **kwargs)

        return restore_job

    return wrapper


def _run_field(current: Current) -> str:
    run = _carrier.to_traceparent(current.span_context) if current.span_context is not None else ""
    return f"{run}@{current.carrier.get(semconv.ENQUEUED_AT, '')}"


def _note_error(job: Any, exc_info: tuple[Any, ...]) -> None:
    about = notes.of_job(job)
    if about.error is None and len(exc_info) > 1 and isinstance(exc_info[1], BaseException):
        about.error = exc_info[1]


def _incoming(telemetry: Telemetry, worker: Any, job: Any) -> Incoming:
    about, watch = notes.of_job(job), notes.of_worker(worker).watch
    about.start()
    carrier = _job.carrier_of(job)
    came_back = _job.came_back(job, carrier)
    return Incoming(
        job=_job.of_run(job, carrier, telemetry.settings, worker.name),
        carrier=carrier,
        judge=functools.partial(_judge, about),
        serial=watch.attempt.serial if watch is not None and watch.job.id == job.id else None,
        link=came_back or _job.style_of(job, telemetry.settings) == "link",
        counts=not notes.of_worker(worker).is_horse,
    )


def _incoming_here(telemetry: Telemetry, job: Any) -> Incoming:
    about = notes.of_job(job)
    about.start()
    carrier = _job.carrier_of(job)
    view = _job.of_run(job, carrier, telemetry.settings, None)
    return Incoming(view, {}, judge=functools.partial(_judge, about), eager=True)


def _judge(about: notes.JobNotes, error: BaseException) -> Verdict:
    """`perform_job` raises when it cannot store how the job ended."""
    return verdicts.of_error(about.error or error, about.again)
