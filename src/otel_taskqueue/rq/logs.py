"""RQ prints nothing where a handler of OpenTelemetry is on the root logger: that one is no console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_taskqueue.core.logs import handlers

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator


def has_console(_telemetry: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `rq.logutils._has_effective_handler`."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def has_effective_handler(logger: logging.Logger) -> bool:
            if not original(logger):
                return False
            return any(not handlers.is_opentelemetry(handler) for handler in _handlers(logger))

        return has_effective_handler

    return wrapper


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent
