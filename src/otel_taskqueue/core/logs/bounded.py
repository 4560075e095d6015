"""Any value as one that JSON can say, of bounded size; whatever is wrong with it, it becomes text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from otel_taskqueue.core.guard import is_control

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_DEPTH: Final = 6
#: Longer integers (bits) are written in base 16: Python refuses the decimals of very long ones.
_LONG_INTEGER: Final = 256
_CUT: Final = "…"


class Limits(NamedTuple):
    """Characters of a text, items of a list or mapping, and characters and items in all, that are kept."""

    text: int
    items: int
    all: int


def text(value: object, limit: int) -> str:
    """The text of anything, its end cut when it is too long."""
    try:
        found = str.__str__(value) if isinstance(value, str) else str.__str__(str(value))
    except Exception as error:
        if is_control(error):
            raise
        found = _unprintable(value)
    return cut(found, limit)


def cut(found: str, limit: int, *, head: float = 1.0) -> str:
    """At most ``limit`` characters of a text: ``head`` is the share that is taken from its beginning."""
    if len(found) <= limit:
        return found
    first = int(limit * head)
    last = found[len(found) - (limit - first) :] if first < limit else ""
    return f"{found[:first]}{_CUT} ({len(found) - limit} characters cut) {last}".rstrip(" ")


class Plain:
    """Turns values into exact built-in types, until its room is used up.

    Args:
        limits: How much is kept of each value, and of all of them.
        other: Turns what has no form in JSON into something else.
    """

    __slots__ = ("_left", "_limits", "_other")

    def __init__(self, limits: Limits, other: Callable[[Any], Any]) -> None:
        self._limits = limits
        self._other = other
        self._left = limits.all

    def value(self, value: object, depth: int = _DEPTH) -> Any:
        """One value, with what is in it."""
        self._left -= 1
        if self._left < 0:
            return _CUT
        try:
            found = self._value(value, depth)
        except Exception as error:
            if is_control(error):
                raise
            found = _unprintable(value)
        if isinstance(found, str):
            self._left -= len(found)
        return found

    def mapping(self, values: Mapping[Any, Any], depth: int = _DEPTH) -> dict[str, Any]:
        """A mapping, cut after the items that are kept."""
        found: dict[str, Any] = {}
        for number, (key, item) in enumerate(values.items()):
            if number >= self._limits.items or self._left < 0:
                found[_CUT] = f"{len(values) - number} more"
                break
            name = text(key, self._limits.text)
            self._left -= len(name)
            found[name] = self.value(item, depth)
        return found

    def _value(self, value: object, depth: int) -> Any:  # noqa: PLR0911  one return a kind
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return text(value, self._limits.text)
        if isinstance(value, int):
            return self._integer(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else float.__repr__(value)
        if depth == 0:
            return text(value, self._limits.text)
        if isinstance(value, Mapping):
            return self.mapping(cast("Mapping[Any, Any]", value), depth - 1)
        if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (bytes, bytearray)):
            return self._items(cast("Collection[Any]", value), depth - 1)
        return self.value(self._other(value), depth - 1)

    def _items(self, values: Collection[Any], depth: int) -> list[Any]:
        found: list[Any] = []
        for number, item in enumerate(values):
            if number >= self._limits.items or self._left < 0:
                return [*found, f"{_CUT} {len(values) - number} more"]
            found.append(self.value(item, depth))
        return found

    def _integer(self, value: int) -> int | str:
        if value.bit_length() <= _LONG_INTEGER:
            return int(value)
        return cut(f"{int(value):#x}", self._limits.text)


def _unprintable(value: object) -> str:
    return f"<unprintable {type(value).__name__}>"
