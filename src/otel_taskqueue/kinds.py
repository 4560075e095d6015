"""The kinds of values which options have: how each is read, explained and shown."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Where a name (also `tokens`, `secret_key`) and its value stand in one text (`token=abc`,
# `{'token': ['abc']}`) the value goes too: a bracket or a quoted text up to its end, else up to
# the next separator.
_VALUE = (
    r"""(?:[\w-]*["']?\s*[:=]\s*(?:\[[^\]]*\]?|\{[^}]*\}?|\([^)]*\)?"""
    r"""|[bru]{0,2}"(?:\\.|[^"\\])*"?|[bru]{0,2}'(?:\\.|[^'\\])*'?"""
    r"""|(?:(?:basic|bearer)\s+)?[^\s"',;&)\]}]+))?"""
)
_SECRETS = (
    r"(?:pass(?:word|wd|phrase)|pwd)" + _VALUE,
    r"secret" + _VALUE,
    r"token" + _VALUE,
    r"authorization" + _VALUE,
    r"api[-_ ]?key" + _VALUE,
    r"(?<=://)[^\s/?#]+(?=@)",
)
#: What is hidden unless the user says otherwise; the word `default` stands for it in a list.
SECRETS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in _SECRETS)
DEFAULT = "default"

_YES = {"true": True, "yes": True, "on": True, "1": True}
_NO = {"false": False, "no": False, "off": False, "0": False}


class Kind(NamedTuple):
    """How values are read, explained and shown.

    ``parse`` takes the text of a variable or the object of a keyword and raises whatever it likes
    for a value that nobody can use; what ``show`` returns can be parsed again.
    """

    allowed: str
    parse: Callable[[object], object]
    show: Callable[[object], str] = str


def choice(*words: str) -> Kind:
    """One word of these, whatever its case."""

    def parse(value: object) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise ValueError(word)
        return word

    return Kind(" or ".join(words), parse)


def _switch(value: object) -> bool:
    return {**_YES, **_NO}[str(value).strip().lower()]


def _show_switch(value: object) -> str:
    return str(value).lower()


def _count(value: object) -> int:
    number = int(str(value))
    if number < 1:
        raise ValueError(number)
    return number


def _seconds(value: object) -> float:
    number = float(str(value))
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(number)
    return number


def _share(value: object) -> float:
    if str(value).strip().lower() == "off":
        return 1.0
    number = float(str(value))
    if not 0 <= number <= 1:  # also false for a number that is none
        raise ValueError(number)
    return number


def _show_share(value: object) -> str:
    return "off" if value == 1 else str(value)


def _text(value: object) -> str:
    return os.fspath(cast("str | os.PathLike[str]", value))


_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def _bytes(value: object) -> int:
    found = re.fullmatch(r"(\d+)\s*([kmg]?i?b?)", str(value).strip().lower())
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if size < 1:
        raise ValueError(value)
    return size


def _show_bytes(value: object) -> str:
    size = cast("int", value)
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size % factor == 0:
            return f"{size // factor} {unit}"
    return str(size)


def _items(value: object) -> list[object]:
    r"""Split text at commas; ``\,`` is a comma inside an item (regexes have them: ``a{2\,}``)."""
    if not isinstance(value, str):
        return list(cast("Iterable[object]", value))
    items = (item.replace("\\,", ",").strip() for item in re.split(r"(?<!\\),", value))
    return [item for item in items if item]


def words(value: object) -> tuple[str, ...]:
    """Words of a list by commas, or of any iterable."""
    return tuple(str(item) for item in _items(value))


def _show_words(value: object) -> str:
    return ",".join(_escaped(word) for word in cast("tuple[str, ...]", value))


def rules(*outcomes: str) -> Kind:
    """Rules ``name=outcome``, where a name may have wildcards; or a mapping of names or classes."""

    def parse(value: object) -> tuple[tuple[str, str], ...]:
        if isinstance(value, Mapping):
            pairs = [_pair(item) for item in cast("Mapping[object, object]", value).items()]
        else:
            pairs = [_pair(item) for item in _items(value)]
        cleaned = tuple((name.strip(), found) for name, found in pairs)
        wrong = [name for name, found in cleaned if not name or found not in outcomes]
        if wrong:
            raise ValueError(wrong)
        return cleaned

    return Kind(
        f"name=category, separated by commas; a category is {', '.join(outcomes)}", parse, _show_rules
    )


def _pair(item: object) -> tuple[str, str]:
    if isinstance(item, str):
        name, _, found = item.rpartition("=")
        return name, _word(found)
    name, found = cast("tuple[object, object]", item)
    return _name_of(name), _word(found)


def _name_of(item: object) -> str:
    if isinstance(item, type):
        return (
            item.__qualname__ if item.__module__ == "builtins" else f"{item.__module__}.{item.__qualname__}"
        )
    return str(item)


def _word(value: object) -> str:
    return str(value.value if isinstance(value, Enum) else value).strip().lower()


def _show_rules(value: object) -> str:
    return ",".join(f"{name}={found}" for name, found in cast("tuple[tuple[str, str], ...]", value))


def _patterns(value: object) -> tuple[re.Pattern[str], ...]:
    return tuple(pattern for item in _items(value) for pattern in _pattern(item))


def _pattern(item: object) -> tuple[re.Pattern[str], ...]:
    if item == DEFAULT:
        return SECRETS
    if isinstance(item, re.Pattern):
        return (cast("re.Pattern[str]", item),)
    return (re.compile(str(item), re.IGNORECASE),)


def _show_patterns(value: object) -> str:
    patterns = cast("tuple[re.Pattern[str], ...]", value)
    own = [_escaped(pattern.pattern) for pattern in patterns if pattern not in SECRETS]
    return ",".join([DEFAULT, *own] if set(SECRETS) <= set(patterns) else own)


def _escaped(item: str) -> str:
    return item.replace(",", "\\,")


SWITCH = Kind("true or false", _switch, _show_switch)
COUNT = Kind("a whole number of at least 1", _count)
SHARE = Kind("a share from 0 to 1, or off", _share, _show_share)
BYTES = Kind("a size of at least 1: bytes, or a number with KiB, MiB or GiB", _bytes, _show_bytes)
PATH = Kind("a path", _text)
SECONDS = Kind("seconds, a number of at least 0", _seconds)
WORDS = Kind("words separated by commas", words, _show_words)
PATTERNS = Kind("regular expressions separated by commas", _patterns, _show_patterns)
