"""Where Celery runs an attempt: the tracer that `build_tracer` makes, in every pool and in eager mode."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_taskqueue import semconv
from otel_taskqueue.celery import compat, eager
from otel_taskqueue.celery import job as _job
from otel_taskqueue.celery.broker import view_of
from otel_taskqueue.celery.verdicts import of_exception, of_result
from otel_taskqueue.core import attempts
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.lifecycle import Processing
from otel_taskqueue.core.message import Incoming

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from otel_taskqueue.celery.broker import AppView
    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.result import Result
    from otel_taskqueue.core.telemetry import Telemetry


class Tracer(NamedTuple):
    """What is decided when a task's tracer is built."""

    telemetry: Telemetry
    view: AppView
    task: Any
    name: str
    worker: str | None
    eager: bool
    link: bool
    judge: Callable[[BaseException], Verdict | None]
    judge_watched: Callable[[BaseException], Verdict | None]


class Told(NamedTuple):
    """Stands for an attempt's runtime on its way to the worker's parent: that, and what no relay carries.

    ``runtime`` is Celery's own (s; None: the attempt has failed).
    """

    runtime: float | None
    result: Result


def tracer(telemetry: Telemetry) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `celery.app.trace.build_tracer`."""

    def wrapper(build: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(build)
        def build_tracer(name: str, task: Any, *args: Any, **kwargs: Any) -> Callable[..., Any]:
            found = build(name, task, *args, **kwargs)
            with Guarded("build_tracer"):
                worker = kwargs.get("hostname") or (args[1] if len(args) > 1 else None)
                return traced(_tracer(telemetry, name, task, worker, eager=kwargs.get("eager", False)), found)
            return found

        return build_tracer

    return wrapper


def traced(tracer_: Tracer, run: Callable[..., Any]) -> Callable[..., Any]:
    """The tracer with the attempt's span around it."""
    telemetry, task = tracer_.telemetry, tracer_.task

    def trace_attempt(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        # Taken out here, whatever happens after: Celery would copy it into a retry's headers.
        serial: int | None = request.pop(semconv.SERIAL, None) if request else None
        with Processing(telemetry, _incoming, tracer_, uuid, args, kwargs, request, serial) as attempt:
            result = run(uuid, args, kwargs, request)
            with Guarded("verdict", leaving=True):
                attempt.verdict = of_result(task, result)
        if tracer_.eager:
            with Guarded("eager retry", leaving=True):
                eager.hand_on(result, attempt.carrier, attempt.span_context)
        elif attempt.untold is not None:
            with Guarded("result", leaving=True):
                return result._replace(runtime=Told(result.runtime, attempt.untold))
        return result

    trace_attempt.__wrapped__ = run  # type: ignore[attr-defined]
    trace_attempt.__otel_taskqueue__ = True  # type: ignore[attr-defined]
    return trace_attempt


def renew_tracers(telemetry: Telemetry) -> None:
    """Wrap the tracers that were built before `instrument()` was called."""
    for app in compat.apps():
        if not app.finalized:
            continue
        for name, task in app.tasks.items():
            built = task.__trace__
            if built is not None and not hasattr(built, "__otel_taskqueue__"):
                task.__trace__ = traced(_tracer(telemetry, name, task, None, eager=False), built)


def restore_tracers() -> None:
    """Give every task the tracer that it had without us."""
    for app in compat.apps():
        if not app.finalized:
            continue
        for task in app.tasks.values():
            if hasattr(task.__trace__, "__otel_taskqueue__"):
                task.__trace__ = task.__trace__.__wrapped__


def _tracer(telemetry: Telemetry, name: str, task: Any, worker: str | None, *, eager: bool) -> Tracer:
    return Tracer(
        telemetry,
        view_of(task.app),
        task,
        name,
        worker,
        eager,
        link=_job.wants_link(task, telemetry.settings),
        judge=functools.partial(of_exception, task, watched=False),
        judge_watched=functools.partial(of_exception, task, watched=True),
    )


def _incoming(
    tracer_: Tracer, uuid: str, args: Any, kwargs: Any, request: MutableMapping[str, Any] | None,
    serial: int | None,
) -> Incoming:  # fmt: skip
    found: Mapping[str, Any] = request if request is not None else {}
    found = {**found, "id": uuid} if "id" not in found else found
    settings = tracer_.telemetry.settings
    if settings.capture_arguments and "argsrepr" not in found:
        found = {**found, "argsrepr": repr(args), "kwargsrepr": repr(kwargs)}
    carrier = eager.carrier_of(found) if tracer_.eager else _job.carrier_of(found)
    worker = tracer_.worker or found.get("hostname")
    watched = serial is not None and attempts.claim(serial) is None  # by another process
    return Incoming(
        job=_job.of_request(tracer_.view, tracer_.name, found, carrier, settings, worker),
        carrier=carrier,
        judge=tracer_.judge_watched if watched else tracer_.judge,
        serial=serial,
        link=tracer_.link,
        eager=tracer_.eager,
    )
