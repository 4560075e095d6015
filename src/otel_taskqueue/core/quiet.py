"""Suppression of the queue's own broker traffic, told apart from suppression by the user."""

from __future__ import annotations

from opentelemetry import context
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage]
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage]  all instrumentations read them
    Context,
)

_PLAIN_KEY = "suppress_instrumentation"
_OURS = context.create_key("otel-taskqueue-suppression")
_ALL_KEYS = (_PLAIN_KEY, _SUPPRESS_INSTRUMENTATION_KEY, _SUPPRESS_HTTP_INSTRUMENTATION_KEY)


def by_user(current: Context | None = None) -> bool:
    """Whether the user has suppressed instrumentation here (``suppress_instrumentation()``)."""
    found = context.get_current() if current is None else current
    return bool(found.get(_SUPPRESS_INSTRUMENTATION_KEY) or found.get(_PLAIN_KEY)) and not found.get(_OURS)


def by_us() -> bool:
    """Whether our own suppression is at work here."""
    return bool(context.get_current().get(_OURS))


def quieted(current: Context | None = None) -> Context:
    """The context with other instrumentations suppressed by us."""
    if by_user(current):
        return context.get_current() if current is None else current
    return _with(current, value=True)


def loud(current: Context | None = None) -> Context:
    """The context without our suppression: user code runs here."""
    if not context.get_value(_OURS, current):
        return context.get_current() if current is None else current
    return _with(current, value=False)


def _with(current: Context | None, *, value: bool) -> Context:
    base = context.get_current() if current is None else current
    return Context({**base, **dict.fromkeys(_ALL_KEYS, value), _OURS: value})
