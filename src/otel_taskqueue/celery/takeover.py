"""Where the official Celery instrumentation is installed too: ours takes over, or stays out (D14)."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.core.telemetry import Telemetry
    from otel_taskqueue.settings import Settings

_logger = logging.getLogger("otel_taskqueue")
_OFFICIAL = "opentelemetry.instrumentation.celery"
_OFFICIAL_PACKAGE = "opentelemetry-instrumentation-celery"
_TAKES_OVER = "otel-taskqueue takes over from the official Celery instrumentation"
_said = False


def prefer_ours() -> None:
    """Entry point `opentelemetry_pre_instrument`: pass over the official instrumentor. Never raises.

    Importing it is enough to keep a gevent worker with a Redis broker from running tasks.
    """
    with Guarded("take over"):
        from opentelemetry.instrumentation.distro import BaseDistro  # noqa: PLC0415

        from otel_taskqueue.celery import compat  # noqa: PLC0415
        from otel_taskqueue.settings import Settings, sdk_disabled  # noqa: PLC0415

        if not Settings.load().take_over or sdk_disabled() or not compat.usable(say=False):
            return
        distro: Any = BaseDistro
        if not hasattr(distro.load_instrumentor, "__otel_taskqueue__"):
            distro.load_instrumentor = _passing_over(distro.load_instrumentor)


def allowed(settings: Settings) -> bool:
    """Whether ours may instrument; told to stay out, it does so wherever the official one is to be had."""
    if settings.take_over:
        displace(settings)
        return True
    stay_out = _active_official() is not None or _official_is_wanted()
    if stay_out:
        _say("otel-taskqueue stays out, as it was told to, and leaves Celery to the official instrumentation")
    return not stay_out


def keep_out(telemetry: Telemetry) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `_instrument` of the official one: an application that calls it after ours doubles nothing."""

    def wrapper(instrument: Callable[..., Any]) -> Callable[..., Any]:
        def passed_over(*args: Any, **kwargs: Any) -> Any:
            if not telemetry.settings.take_over:
                return instrument(*args, **kwargs)
            _say(_TAKES_OVER)
            return None

        return passed_over

    return wrapper


def displace(settings: Settings) -> None:
    """Uninstrument the official one where an application has instrumented by hand."""
    official = _active_official()
    if official is not None and settings.take_over:
        official.uninstrument()
        _say(_TAKES_OVER)


def _passing_over(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_instrumentor(self: Any, entry_point: Any, **kwargs: Any) -> None:
        if entry_point.value.partition(":")[0] == _OFFICIAL and _ours_is_wanted():
            _say(_TAKES_OVER)
            return
        load(self, entry_point, **kwargs)

    load_instrumentor.__otel_taskqueue__ = True  # type: ignore[attr-defined]
    return load_instrumentor


def _ours_is_wanted() -> bool:
    from otel_taskqueue.settings import disabled_instrumentations  # noqa: PLC0415

    return not {"otel_taskqueue_celery", "*"} & disabled_instrumentations()


def _official_is_wanted() -> bool:
    from otel_taskqueue.settings import disabled_instrumentations  # noqa: PLC0415

    try:
        version(_OFFICIAL_PACKAGE)
    except PackageNotFoundError:
        return False
    return not {"celery", "*"} & disabled_instrumentations()


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
