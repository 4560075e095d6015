"""Where log records leave a worker: at `Logger.callHandlers`, which every record passes exactly once.

Celery throws the root's handlers away and cuts `celery.task` off, RQ prints nothing when the root
has a handler, `basicConfig` does nothing then, and applications configure their logging whenever
they like. So in a worker handlers of OpenTelemetry stand on no logger: they are taken from there
and called here, once for each provider, as if they still stood where they were found. The consoles
are those of a worker without us.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context
from opentelemetry._logs import get_logger_provider

from otel_taskqueue.core.guard import is_control, report
from otel_taskqueue.core.logs import fields, outgoing
from otel_taskqueue.core.logs.emitting import Emitting
from otel_taskqueue.core.patch import Applied, Patch, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_taskqueue.core.logs.outgoing import Strip

    #: Called with a record's copy and the function that ships it, now or later (in the same context).
    Gate = Callable[[logging.LogRecord, Callable[[logging.LogRecord], None]], None]

#: Their loggers count as joined to the root although Celery, or a configuration of Django, cuts them off.
_FAMILIES: Final = frozenset({"celery", "rq"})

_strips: dict[str, Strip] = {}
_given: list[Any] = []
_placed: list[logging.Handler] = []
_taken: dict[str, list[logging.Handler]] = {}
_emitting: dict[int, Emitting] = {}
_kinds: dict[type, bool] = {}
_gate: Gate | None = None
_ships: Callable[[logging.LogRecord], bool] | None = None
_prints: Callable[[logging.LogRecord], bool] | None = None
_applied: Applied | None = None
_busy: ContextVar[bool] = ContextVar("otel_taskqueue_shipping", default=False)


def start(room: str, strip: Strip, logger_provider: Any = None) -> None:
    """This process is a worker: from here on its records are shipped, each once, without payloads.

    Args:
        room: Who calls: `stop` takes the same.
        strip: Takes the payloads of the room's library out of a copy of a record.
        logger_provider: As given to ``instrument()``; None means the global one.
    """
    global _applied  # noqa: PLW0603  one Logger class per process
    _strips[room] = strip
    if logger_provider is not None and all(logger_provider is not other for other in _given):
        _given.append(logger_provider)
    fields.in_worker()
    for logger in _loggers():
        _take(logger)
    if _applied is None:
        _applied = replace(logging, Patch("logging", "Logger.callHandlers", _shipping))


def stop(room: str) -> None:
    """The room ships nothing any more; the last one puts the handlers back where they were found."""
    global _applied  # noqa: PLW0603
    _strips.pop(room, None)
    if _strips or _applied is None:
        return
    _applied.restore()
    _applied = None
    for name, found in _taken.items():
        for handler in found:
            logging.getLogger(None if name == "root" else name).addHandler(handler)
    _taken.clear()
    _given.clear()
    _emitting.clear()


def place(handler: logging.Handler) -> None:
    """Give this handler, too, a copy of each record that reaches the root, once, in its own context."""
    if handler not in _placed:
        _placed.append(handler)


def remove(handler: logging.Handler) -> None:
    """Undo `place`."""
    if handler in _placed:
        _placed.remove(handler)


def gate(found: Gate | None, ships: Callable[[logging.LogRecord], bool] | None = None) -> None:
    """Let ``ships`` decide whether a record goes to OpenTelemetry, ``found`` when; `place` is not asked."""
    global _gate, _ships
    _gate, _ships = found, ships


def console(prints: Callable[[logging.LogRecord], bool] | None) -> None:
    """Let ``prints`` decide which records reach the handlers that stand on loggers."""
    global _prints  # noqa: PLW0603  one per process
    _prints = prints


def is_opentelemetry(handler: logging.Handler) -> bool:
    """Whether a handler ships to OpenTelemetry: contrib's, the SDK's, or a subclass of one."""
    kind = type(handler)
    found = _kinds.get(kind)
    if found is None:
        found = any(base.__module__.startswith("opentelemetry.") for base in kind.__mro__)
        _kinds[kind] = found
    return found


def _shipping(call: Callable[..., Any]) -> Callable[..., Any]:
    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> Any:
        if not _busy.get():
            token = _busy.set(True)  # what the SDK says about a record is no reason for another one
            try:
                _ship(logger, record)
            except BaseException as error:
                if is_control(error):
                    raise
                report("log shipping", error)
            finally:
                _busy.reset(token)
        if _prints is not None and not _prints(record):
            return None
        return call(logger, record)

    return call_handlers


def _ship(logger: logging.Logger, record: logging.LogRecord) -> None:
    found, reaches_root = _on_the_way(logger)
    targets = _targets(found, reaches_root=reaches_root)
    if _ships is None or _ships(record):
        targets = [handler for handler in targets if record.levelno >= handler.level]
    else:
        targets = []
    placed = [handler for handler in _placed if record.levelno >= handler.level] if reaches_root else ()
    if not targets and not placed:
        return
    if fields.NAMES[0] not in vars(record):
        fields.fill(record)  # it was made by hand, not by a logger
    about = fields.context_of(record)
    token = context.attach(about) if about is not None else None
    try:
        _give(outgoing.copy_of(record, list(_strips.values())), targets, placed)
    finally:
        if token is not None:
            context.detach(token)


def _give(copy: logging.LogRecord, targets: list[logging.Handler], placed: Any) -> None:
    for handler in placed:
        handler.handle(copy)
    if not targets:
        return

    def ship(record: logging.LogRecord) -> None:
        for handler in targets:
            handler.handle(record)

    if _gate is None:
        ship(copy)
    else:
        _gate(copy, ship)


def _on_the_way(logger: logging.Logger) -> tuple[list[logging.Handler], bool]:
    """The handlers of OpenTelemetry between a logger and the root, and whether the root is reached."""
    found: list[logging.Handler] = []
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if is_opentelemetry(handler):  # placed there since
                _take(current)
                break
        found += _taken.get(current.name, ())
        if not current.propagate and current.name.partition(".")[0] not in _FAMILIES:
            return found, current.parent is None
        current = current.parent
    return found, True


def _targets(found: list[logging.Handler], *, reaches_root: bool) -> list[logging.Handler]:
    """One handler for each provider that takes records."""
    targets: dict[int, logging.Handler] = {}
    for handler in found:
        provider = _provider_of(handler)
        if _takes_records(provider):
            targets.setdefault(id(provider), handler)
    if reaches_root:
        for provider in _given or (get_logger_provider(),):
            if id(provider) not in targets and _takes_records(provider):
                targets[id(provider)] = _emitting_to(provider)
    return list(targets.values())


def _provider_of(handler: logging.Handler) -> Any:
    """Where a handler ships; a proxy stands for the global provider, and so does what hides its own."""
    provider = getattr(handler, "_logger_provider", None)
    if provider is None or type(provider).__name__ == "ProxyLoggerProvider":
        return get_logger_provider()
    return provider


def _takes_records(provider: Any) -> bool:
    return hasattr(provider, "add_log_record_processor")


def _emitting_to(provider: Any) -> Emitting:
    found = _emitting.get(id(provider))
    if found is None:
        found = _emitting[id(provider)] = Emitting(provider)
    return found


def _take(logger: logging.Logger) -> None:
    """Take OpenTelemetry's handlers from a logger; its list is replaced, others may be reading it."""
    found = [handler for handler in logger.handlers if is_opentelemetry(handler)]
    if not found:
        return
    logger.handlers = [handler for handler in logger.handlers if handler not in found]
    known = _taken.setdefault(logger.name, [])
    known += [handler for handler in found if handler not in known]


def _loggers() -> Iterator[logging.Logger]:
    yield logging.getLogger()
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger
