"""Celery's log lines: which of them are about which attempt, and what they say about its payload."""

from __future__ import annotations

import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final, cast

from otel_taskqueue import semconv
from otel_taskqueue.celery import compat
from otel_taskqueue.celery import job as _job
from otel_taskqueue.celery.broker import view_of
from otel_taskqueue.core import delivery
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.job import Current
from otel_taskqueue.core.logs import channels, fields, handlers, outgoing

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

#: What the values of `celery.app.trace` and `celery.worker.strategy` say about a job's payload.
_PAYLOAD: Final = frozenset({"args", "kwargs", "return_value", "traceback"})
#: Logger -> beginning of a line -> which of its arguments hold a payload (a message, a request).
_PAYLOAD_AT: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    "celery.worker.strategy": {"Couldn't convert ETA": (2,)},
    "celery.worker.consumer.consumer": {
        "Received and deleted unknown message": (0,),
        "Received unregistered task": (1, 2),
        "Received invalid task message": (1,),
        "Can't decode message body": (3, 4),
        "Failed to cancel active request": (0,),
    },
    "celery.pool": {"TaskPool: Apply": (1, 2)},
    "celery.concurrency.asynpool": {"got %r while flushing": (0,)},
}
_HIDDEN: Final = "…"
_NONE: Final[Mapping[str, tuple[int, ...]]] = {}

_telemetry: Telemetry | None = None
_latest: Callable[[], Any] = lambda: None  # noqa: E731  a weak reference, later


def connect(telemetry: Telemetry) -> None:
    """Give records of jobs their fields; in a worker whose logging is set up already, ship them."""
    global _telemetry  # noqa: PLW0603  one set of settings per library
    if not telemetry.settings.logs:
        return
    _telemetry = telemetry
    fields.install(semconv.CELERY, telemetry.settings.baggage_keys)
    fields.find_by("celery.worker.strategy", _received)
    for logger in ("celery.worker.control", "celery.worker.consumer.consumer"):
        fields.find_by(logger, _named)
    set_up = getattr(sys.modules.get("celery.app.log"), "Logging", None)
    if getattr(set_up, "_setup", False):
        handlers.start(semconv.CELERY, as_shipped, telemetry.logger_provider)


def disconnect() -> None:
    """Leave records alone."""
    global _telemetry  # noqa: PLW0603
    _telemetry = None
    channels.stop(semconv.CELERY)
    handlers.stop(semconv.CELERY)
    fields.uninstall(semconv.CELERY)


def around_setup(telemetry: Telemetry) -> Wrapper:
    """Wrap `Logging.setup_logging_subsystem`: Celery sees no handler of OpenTelemetry, whatever it does."""

    def wrapper(setup: Callable[..., Any]) -> Callable[..., Any]:
        if not telemetry.settings.logs:
            return setup

        def setup_logging_subsystem(*args: Any, **kwargs: Any) -> Any:
            with Guarded("logging"):
                handlers.start(semconv.CELERY, as_shipped, telemetry.logger_provider)
            result = setup(*args, **kwargs)
            worker = kwargs.get("hostname")
            if worker:  # Celery sets the level of `celery.task` itself
                channels.start(semconv.CELERY, telemetry, worker, _slot(), ("celery.task",))
            return result

        return setup_logging_subsystem

    return wrapper


def _slot() -> str:
    """What at most one process of this worker is at a time: the index of a prefork child."""
    from billiard.process import current_process  # noqa: PLC0415  never ahead of gevent's patching

    index: Any = getattr(cast("Any", current_process()), "index", None)
    return channels.MAIN if index is None else str(index)


def received(_telemetry: Telemetry) -> Wrapper:
    """Wrap `Request.__init__`: the line `Task ... received` comes next."""

    def wrapper(init: Callable[..., Any]) -> Callable[..., Any]:
        def init_request(request: Any, *args: Any, **kwargs: Any) -> Any:
            global _latest  # noqa: PLW0603  one consumer per worker
            _latest = weakref.ref(request)
            return init(request, *args, **kwargs)

        return init_request

    return wrapper


def about_request(_telemetry: Telemetry) -> Wrapper:
    """Wrap a method of `Request`: what is logged in there is about its attempt."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: Any, *args: Any, **kwargs: Any) -> Any:
            token = fields.about(functools.partial(_current_of, request))
            try:
                return original(request, *args, **kwargs)
            finally:
                fields.about_nothing(token)

        return call

    return wrapper


def as_shipped(record: logging.LogRecord) -> None:
    """Take arguments and results out of a copy of one of Celery's own lines."""
    if not record.name.startswith("celery.") or record.name.startswith("celery.redirected"):
        return
    vars(record).pop("data", None)
    error, frames = outgoing.exception_of(record)
    if error is not None:
        error = compat.unwrap(error)
        record.exc_info = (type(error), error, frames)
    args: Any = record.args
    if isinstance(args, dict):
        values = cast("Mapping[str, Any]", args)
        record.args = {key: _HIDDEN if key in _PAYLOAD else value for key, value in values.items()}
        return
    for beginning, places in _PAYLOAD_AT.get(record.name, _NONE).items():
        if str(record.msg).startswith(beginning):
            values = cast("tuple[Any, ...]", args)
            record.args = tuple([_HIDDEN if at in places else value for at, value in enumerate(values)])


def _received(record: logging.LogRecord) -> Current | None:
    request, values = _latest(), record.args
    if request is None or not isinstance(values, dict) or values.get("id") != request.id:
        return None
    return _current_of(request)


def _named(record: logging.LogRecord) -> Current | None:
    """The request that a line names by its id."""
    state = sys.modules.get("celery.worker.state")
    if state is None or not isinstance(record.args, tuple):
        return None
    ids = [value for value in record.args if isinstance(value, str)]
    requests = [state.requests[value] for value in ids if value in state.requests]
    return _current_of(requests[0]) if len(requests) == 1 else None


def _current_of(request: Any) -> Current | None:
    telemetry = _telemetry
    if telemetry is None:
        return None
    message = request.request_dict
    carrier = _job.carrier_of(message)
    name, worker = request.task.name, request.hostname
    job = _job.of_request(view_of(request.app), name, message, carrier, telemetry.settings, worker)
    return Current(job, carrier, _span_of(request))


def _span_of(request: Any) -> SpanContext | None:
    """As far as its child has announced it: nobody waits for that here."""
    attempt = getattr(request, "otel_attempt", None)
    if attempt is None:
        return None
    if attempt.context is None and attempt.started:
        attempt.context = delivery.context_of(attempt.started)
    return attempt.context
