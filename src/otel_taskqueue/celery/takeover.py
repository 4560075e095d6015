"""Where the official Celery instrumentation is installed too: ours takes over, or stays out (D14)."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.settings import Settings

_logger = logging.getLogger("otel_taskqueue")
_OFFICIAL = "opentelemetry.instrumentation.celery"
_said = False


def prefer_ours() -> None:
    """Entry point `opentelemetry_pre_instrument`: pass over the official instrumentor. Never raises.

    Importing it is enough to keep a gevent worker with a Redis broker from running tasks.
    """
    with Guarded("take over"):
        from opentelemetry.instrumentation.distro import BaseDistro  # noqa: PLC0415

        from otel_taskqueue.celery import compat  # noqa: PLC0415
        from otel_taskqueue.settings import Settings, sdk_disabled  # noqa: PLC0415

        if not Settings.load().take_over or sdk_disabled() or not compat.usable():
            return
        distro: Any = BaseDistro
        if not hasattr(distro.load_instrumentor, "__otel_taskqueue__"):
            distro.load_instrumentor = _passing_over(distro.load_instrumentor)


def allowed(settings: Settings) -> bool:
    """Whether ours may instrument: not when it was told to stay out and the official one is active."""
    if settings.take_over:
        return True
    official = _active_official()
    if official is not None:
        _say("the official Celery instrumentation is active: otel-taskqueue stays out, as it was told to")
    return official is None


def displace(settings: Settings) -> None:
    """Uninstrument the official one where an application has instrumented by hand."""
    official = _active_official()
    if official is not None and settings.take_over:
        official.uninstrument()
        _say("otel-taskqueue takes over from the official Celery instrumentation")


def _passing_over(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_instrumentor(self: Any, entry_point: Any, **kwargs: Any) -> None:
        if entry_point.value.partition(":")[0] == _OFFICIAL and _ours_is_wanted():
            _say("otel-taskqueue takes over from the official Celery instrumentation")
            return
        load(self, entry_point, **kwargs)

    load_instrumentor.__otel_taskqueue__ = True  # type: ignore[attr-defined]
    return load_instrumentor


def _ours_is_wanted() -> bool:
    from otel_taskqueue.settings import disabled_instrumentations  # noqa: PLC0415

    return not {"otel_taskqueue_celery", "*"} & disabled_instrumentations()


def _active_official() -> Any:
    module = sys.modules.get(_OFFICIAL)
    if module is None:
        return None
    instrumentor = module.CeleryInstrumentor()
    return instrumentor if instrumentor.is_instrumented_by_opentelemetry else None


def _say(sentence: str) -> None:
    global _said  # noqa: PLW0603  once per process
    if not _said:
        _said = True
        _logger.info(sentence)
