"""What differs between versions of Celery, and what an early `import celery` left behind."""

from __future__ import annotations

import logging
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_logger = logging.getLogger("otel_taskqueue")
OLDEST = (5, 3)


def usable(*, say: bool = True) -> bool:
    """Whether a supported Celery is installed; nothing of it is imported to find out."""
    try:
        found = version("celery")
    except PackageNotFoundError:
        return False
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    if numbers >= OLDEST:
        return True
    if say:
        oldest = ".".join(map(str, OLDEST))
        _logger.error("celery %s is not instrumented: otel-taskqueue needs celery >= %s", found, oldest)
    return False


def apps() -> list[Any]:
    """The Celery applications of this process; none while Celery is not imported."""
    state = sys.modules.get("celery._state")
    return list(state._get_active_apps()) if state is not None else []  # noqa: SLF001  no public way


def renew_senders() -> None:
    """Drop each application's cached sender, so that the next publish makes one by today's patches."""
    for app in apps():
        amqp = app.__dict__.get("amqp")
        if amqp is not None:
            amqp.__dict__.pop("send_task_message", None)


def unwrap(error: BaseException) -> BaseException:
    """The exception inside billiard's ``ExceptionWithTraceback``; any other one as it is.

    Only that class: ``Retry`` has an ``exc`` too and must stay a retry.
    """
    if type(error).__name__ == "ExceptionWithTraceback":
        return getattr(error, "exc", error)
    return error
