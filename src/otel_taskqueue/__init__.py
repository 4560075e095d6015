"""Each job of Celery and RQ as one trace, from the call that enqueued it to its last attempt."""

from __future__ import annotations

from typing import Any

from otel_taskqueue.settings import Settings
from otel_taskqueue.version import __version__

__all__ = ["Settings", "__version__", "instrument", "uninstrument"]


def instrument(**options: Any) -> None:
    """Instrument Celery and RQ, whichever is installed; calling it twice is harmless.

    Args:
        options: ``tracer_provider``, ``meter_provider``, ``logger_provider``, ``settings``,
            ``publish_hook``, ``process_hook``, and every setting by its name in lower case.
            Nothing is ever raised; what is wrong is logged on the logger ``otel_taskqueue``.
    """
    for instrumentor in _instrumentors():
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(**options)


def uninstrument() -> None:
    """Restore every name that `instrument` replaced."""
    for instrumentor in _instrumentors():
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def _instrumentors() -> tuple[Any, ...]:
    from otel_taskqueue.celery import CeleryInstrumentor  # noqa: PLC0415  settings must load without it
    from otel_taskqueue.rq import RQInstrumentor  # noqa: PLC0415

    return CeleryInstrumentor(), RQInstrumentor()
