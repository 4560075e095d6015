"""Text that may leave the process: secrets replaced and, for arguments, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_taskqueue.kinds import SECRETS

if TYPE_CHECKING:
    import re

    from otel_taskqueue.settings import Settings

REPLACEMENT = "[redacted]"
#: How much longer than the bound the text is that gets searched for secrets.
_MARGIN = 1024
#: Without one of these words a text holds nothing for the pattern: finding that out is ten times cheaper.
_NEEDLES = dict(
    zip(
        SECRETS,
        (("pass", "pwd"), ("secret",), ("token",), ("authorization",), ("api",), ("://",)),
        strict=True,
    )
)
_chosen: dict[str, tuple[re.Pattern[str], ...]] = {}
_patterns: tuple[re.Pattern[str], ...] = SECRETS


def use(room: str, patterns: tuple[re.Pattern[str], ...] | None) -> None:
    """What a room hides in texts that carry no settings with them; None: the room is gone."""
    global _patterns  # noqa: PLW0603  decided at `instrument()`, read for each failure
    _chosen.pop(room, None)
    if patterns is not None:
        _chosen[room] = patterns
    _patterns = tuple({pattern: None for found in _chosen.values() for pattern in found})
    if not _chosen:
        _patterns = SECRETS


def secrets(text: str) -> str:
    """The text of an exception or of a library's line, with every match of the patterns replaced."""
    return _replace(text, _patterns)


def text(value: str, settings: Settings) -> str:
    """The text with every match of the redact patterns replaced, cut to the bound.

    Secrets are replaced before the text is cut, so that a cut never uncovers half of one.
    """
    found = _replace(value[: settings.capture_arguments_max_length + _MARGIN], settings.redact_patterns)
    if len(found) > settings.capture_arguments_max_length:
        return found[: settings.capture_arguments_max_length - 1] + "…"
    return found


def arguments(args: str, kwargs: str, settings: Settings) -> tuple[str, str]:
    """The texts of positional and keyword arguments, ready to be attributes."""
    return text(args, settings), text(kwargs, settings)


def _replace(value: str, patterns: tuple[re.Pattern[str], ...]) -> str:
    folded = value.casefold()
    for pattern in patterns:
        needles = _NEEDLES.get(pattern)
        if needles is None or any(needle in folded for needle in needles):
            value = pattern.sub(REPLACEMENT, value)
    return value
