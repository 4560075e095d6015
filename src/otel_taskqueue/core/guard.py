"""Our own errors stay ours: logged once a minute per place, never raised into user code.

Time limits and exits which a signal handler raises while our code happens to run belong to the
application and pass. Exceptions of that kind are registered by the rooms with ``let_pass``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_taskqueue import settings

if TYPE_CHECKING:
    from types import TracebackType

_logger = logging.getLogger("otel_taskqueue")
_QUIET_SECONDS = 60.0
_last_report: dict[str, float] = {}
_control: tuple[type[BaseException], ...] = ()
_stops: tuple[type[BaseException], ...] = ()
_raise_errors = settings.raise_internal_errors()


def let_pass(*exceptions: type[BaseException]) -> None:
    """Register exceptions that belong to the application whenever they are raised."""
    global _control  # noqa: PLW0603  decided once per library import, read on every job
    _control = tuple({*_control, *exceptions})


def let_stop(*exceptions: type[BaseException]) -> None:
    """Register exceptions by which a signal handler stops the worker: nothing may swallow them, ever."""
    global _stops  # noqa: PLW0603  decided once per library import
    _stops = tuple({*_stops, *exceptions})
    let_pass(*exceptions)


def is_control(error: BaseException) -> bool:
    """Whether this exception belongs to the application even when our code was interrupted by it."""
    return not isinstance(error, Exception) or isinstance(error, _control)


def report(site: str, error: BaseException) -> None:
    """Log an error of ours, at most once a minute for each place."""
    if _raise_errors:
        raise error
    now = time.monotonic()
    if now - _last_report.get(site, -_QUIET_SECONDS) < _QUIET_SECONDS:
        return
    _last_report[site] = now
    with contextlib.suppress(Exception), suppress_instrumentation():  # a context may be broken, too
        _logger.error(
            "telemetry of %s failed, the application is not affected: %r", site, error, exc_info=error
        )


class Guarded:
    """``with Guarded("place"):`` swallows our own errors and lets control exceptions pass.

    With ``leaving=True`` (the job has returned and its result is stored) time limits are
    swallowed too: passing them on would contradict the stored result. Exits and stops still pass.
    """

    __slots__ = ("_leaving", "_site")

    def __init__(self, site: str, *, leaving: bool = False) -> None:
        self._site = site
        self._leaving = leaving

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return True
        if not isinstance(error, Exception) or isinstance(error, _stops):
            return False
        if not self._leaving and is_control(error):
            return False
        report(self._site, error)
        return True
