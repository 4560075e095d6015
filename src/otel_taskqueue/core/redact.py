"""Arguments as text that may leave the process: bounded, and secrets replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_taskqueue.settings import Settings

REPLACEMENT = "[redacted]"
#: How much longer than the bound the text is that gets searched for secrets.
_MARGIN = 1024


def text(value: str, settings: Settings) -> str:
    """The text with every match of the redact patterns replaced, cut to the bound.

    Secrets are replaced before the text is cut, so that a cut never uncovers half of one.
    """
    found = value[: settings.capture_arguments_max_length + _MARGIN]
    for pattern in settings.redact_patterns:
        found = pattern.sub(REPLACEMENT, found)
    if len(found) > settings.capture_arguments_max_length:
        return found[: settings.capture_arguments_max_length - 1] + "…"
    return found


def arguments(args: str, kwargs: str, settings: Settings) -> tuple[str, str]:
    """The texts of positional and keyword arguments, ready to be attributes."""
    return text(args, settings), text(kwargs, settings)
