"""What differs between versions of RQ: whether it is there, who defines a method, times, exceptions."""

from __future__ import annotations

import logging
import re
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import wrapt

from otel_taskqueue.core import guard

_logger = logging.getLogger("otel_taskqueue")
OLDEST = (1, 16)
#: Exceptions of RQ which a signal handler raises wherever the process happens to be.
_CONTROL = {
    "rq.timeouts": ("BaseTimeoutException",),
    "rq.exceptions": ("ShutDownImminentException", "StopRequested"),
    "rq.worker": ("StopRequested",),
}
#: Of these, what ends the worker: swallowed once, it would never stop.
_STOPS = frozenset({"StopRequested"})
_hooked = False


def usable() -> bool:
    """Whether a supported RQ is installed; nothing of it is imported to find out."""
    try:
        found = version("rq")
    except PackageNotFoundError:
        return False
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    if numbers >= OLDEST:
        return True
    _logger.error(
        "rq %s is not instrumented: otel-taskqueue needs rq >= %s", found, ".".join(map(str, OLDEST))
    )
    return False


def let_control_pass() -> None:
    """Time limits and stops of RQ belong to the application, as soon as RQ is imported."""
    global _hooked  # noqa: PLW0603  once per process
    if not _hooked:
        _hooked = True
        for module in _CONTROL:
            wrapt.register_post_import_hook(_know_control, module)


def _know_control(module: Any) -> None:
    for name in _CONTROL[module.__name__]:
        kind = getattr(module, name, None)
        if kind is not None:
            (guard.let_stop if name in _STOPS else guard.let_pass)(kind)


def is_a(kind: type[BaseException], name: str) -> bool:
    """Whether an exception class is, or comes from, RQ's exception of this name."""
    return any(base.__name__ == name and base.__module__.startswith("rq.") for base in kind.__mro__)


def stops(error: BaseException) -> bool:
    """Whether this is how RQ ends a worker that was asked to stop."""
    return any(is_a(type(error), name) for name in _STOPS)


def spawns(worker: Any) -> bool:
    """Whether the worker starts its work-horse as a new program: nothing of ours is inherited."""
    module = sys.modules.get("rq.worker")
    kind = getattr(module, "SpawnWorker", None)
    return kind is not None and isinstance(worker, kind)


def nanoseconds(moment: Any) -> int:
    """A time of a job in unix nanoseconds, 0 for none; RQ before 2.0 stores UTC without saying so."""
    if not isinstance(moment, datetime):
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return int(moment.timestamp() * 1_000_000) * 1000


def stored_exception(job: Any) -> str:
    """The traceback of the job's last attempt as RQ has stored it, empty when there is none."""
    try:
        return str(job.exc_info or "")
    except Exception:  # noqa: BLE001  Redis is away, or the result cannot be read
        return ""


def text(value: Any) -> str:
    """What Redis or RQ answer as text: bytes, or a member of an enumeration."""
    value = getattr(value, "value", value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def status_of(job: Any) -> str:
    """The status which the job object knows, as text, without asking Redis."""
    return text(job.get_status(refresh=False))
