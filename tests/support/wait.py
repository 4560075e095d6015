"""Wait for a condition and fail with what was seen; nothing in the tests sleeps for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02


class NotInTimeError(AssertionError):
    """A condition did not come true in time; the message says what was seen instead."""


def wait_for(
    predicate: Callable[[], T],
    timeout: float,
    what: str,
    seen: Callable[[], object] | None = None,
) -> T:
    """Return the first truthy value of ``predicate``.

    Args:
        predicate: asked every 20 ms.
        timeout: seconds.
        what: names the condition in the failure.
        seen: describes the state for the failure; the predicate's last value when absent.

    Raises:
        NotInTimeError: the condition did not come true within ``timeout``.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            last = seen() if seen else repr(value)
            message = f"not within {timeout:g} s: {what}\nseen: {last}"
            raise NotInTimeError(message)
        time.sleep(POLL_SECONDS)
