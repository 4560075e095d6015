"""Celery's log lines: which attempt each is about, what it says about its payload and its failure."""

from __future__ import annotations

import functools
import sys
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from otel_taskqueue import semconv
from otel_taskqueue.celery import compat, events, verdicts
from otel_taskqueue.celery import job as _job
from otel_taskqueue.celery.broker import view_of
from otel_taskqueue.core import delivery, oom
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.job import Current
from otel_taskqueue.core.logs import channels, fields, handlers, outgoing

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

#: What the values of `celery.app.trace` and `celery.worker.strategy` say about a job's payload.
_PAYLOAD: Final = frozenset({"args", "kwargs", "return_value", "traceback"})
#: Logger -> beginning of a line -> which of its arguments hold a payload (a message, a request, a timer's).
_PAYLOAD_AT: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    "celery.worker.strategy": {"Couldn't convert ETA": (2,)},
    "celery.worker.consumer.consumer": {
        "Received and deleted unknown message": (0,),
        "Received unregistered task": (1, 2),
        "Received invalid task message": (1,),
        "Can't decode message body": (3, 4),
        "Failed to cancel active request": (0,),
    },
    "celery.worker.loops": {"Error cancelling hub timer entry": (0,)},
    "celery.pool": {"TaskPool: Apply": (1, 2)},
    "celery.concurrency.asynpool": {"got %r while flushing": (0,)},
    "kombu.transport.redis": {"Could not restore message": (0,), "Cannot process event": (1,)},
    "kombu.transport.gcpubsub": {"queue:%s got message": (2,)},
    "kombu.mixins": {"Can't decode message body": (3,)},
}
#: Logger -> what a payload stands behind, in lines that have no arguments: a call, the entries of a schedule.
_PAYLOAD_BEHIND: Final = {"kombu.channel": "(", "celery.beat": "Current schedule:"}
_HIDDEN: Final = "…"
_NONE: Final[Mapping[str, tuple[int, ...]]] = {}
_LOST: Final = frozenset({"WorkerLostError", "SystemExit", "KeyboardInterrupt"})

_telemetry: Telemetry | None = None
_latest: Callable[[], Any] = lambda: None  # noqa: E731  a weak reference, later
_oom: oom.Evidence | None = None


def connect(telemetry: Telemetry) -> None:
    """Give records of jobs their fields; in a worker whose logging is set up already, ship them."""
    global _telemetry, _oom
    if not telemetry.settings.logs:
        return
    _telemetry, _oom = telemetry, oom.Evidence()
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


def about_message(telemetry: Telemetry, at: int, then: Wrapper | None = None) -> Wrapper:
    """Wrap a method of `Consumer` whose argument ``at`` is a message that never becomes a request."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        after = then(original) if then is not None else original
        if not telemetry.settings.logs:
            return after

        def call(consumer: Any, *args: Any, **kwargs: Any) -> Any:
            message = kwargs["message"] if "message" in kwargs else next(iter(args[at:]), None)
            token = fields.about(functools.partial(_unrequested, consumer, message))
            try:
                return after(consumer, *args, **kwargs)
            finally:
                fields.about_nothing(token)

        return call

    return wrapper


def as_shipped(record: logging.LogRecord) -> None:
    """A copy of a line of Celery or kombu: without arguments and results, with the failure it tells of."""
    if not record.name.startswith(("celery.", "kombu.")) or record.name.startswith("celery.redirected"):
        return
    error, frames = outgoing.exception_of(record)
    if error is not None:
        error = compat.unwrap(error)
        record.exc_info = (type(error), error, frames)
    verdict = _verdict_in(record, error)
    if verdict is not None and verdict.category is not None:
        vars(record)[semconv.FAILURE_CATEGORY] = verdict.category
    _without_payload(record)


def _without_payload(record: logging.LogRecord) -> None:
    vars(record).pop("data", None)
    text, args = str(record.msg), cast("Any", record.args)
    for beginning, places in _PAYLOAD_AT.get(record.name, _NONE).items():
        if text.startswith(beginning):
            # A single dict is what `logging` makes of a tuple with nothing but that dict.
            values = cast("tuple[Any, ...]", args if isinstance(args, tuple) else (args,))
            record.args = tuple([_HIDDEN if at in places else value for at, value in enumerate(values)])
            return
    if isinstance(args, dict):
        named = cast("Mapping[str, Any]", args)
        record.args = {key: _HIDDEN if key in _PAYLOAD else value for key, value in named.items()}
    mark = _PAYLOAD_BEHIND.get(record.name)
    if mark is not None and mark in text:
        record.msg, record.args = f"{text.partition(mark)[0]}{mark}{_HIDDEN}", ()


def _verdict_in(record: logging.LogRecord, error: BaseException | None) -> Verdict | None:
    """How the attempt ended of which the line tells; None: the line tells of no end."""
    text, args = str(record.msg), cast("Any", record.args)
    if record.name == "celery.app.trace" and isinstance(args, dict) and "exc" in args:
        # Told while the tracer handles it; what the record has may be a stand-in that can be pickled.
        return _of_error(sys.exc_info()[1])
    if record.name == "celery.worker.request":
        return _of_request(text, error, args)
    if record.name == "celery.worker.consumer.consumer":
        if text.startswith("Received unregistered task"):
            return events.unknown("")
        if text.startswith(("Received invalid task", "Received and deleted", "Can't decode message")):
            return events.rejected(error)
    return None


def _of_request(text: str, error: BaseException | None, args: Any) -> Verdict | None:
    """As `celery.watch` judges right after the line."""
    if text.startswith("Hard time limit"):
        return verdicts.of_hard_limit(None, None)
    if text.startswith("Task %s[%s] retry"):  # in the name of a dead child
        error = getattr(args[-1], "exc", None)
    elif not text.startswith("Task handler raised error"):
        return None
    kind = type(error).__name__
    if kind in _LOST:
        lost = SimpleNamespace(exception=error)
        return verdicts.of_lost(lost, None, oom=_oom is not None and _oom.rose())
    return verdicts.of_hard_limit(error, None) if kind == "TimeLimitExceeded" else _of_error(error)


def _of_error(error: BaseException | None) -> Verdict | None:
    if error is None:
        return None
    names = [kind.__name__ for kind in type(error).__mro__]
    state = next((verdicts.STATES[name] for name in names if name in verdicts.STATES), "FAILURE")
    return verdicts.of_state(None, state, error, "")


def _unrequested(consumer: Any, message: Any) -> Current | None:
    name, job_id = events.named(message)
    return events.attempt_of(consumer, message, name, job_id) if job_id else None


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
