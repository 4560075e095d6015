"""What kind of failure an exception is: its class, the codes it carries, and what caused it.

Classes are known by name, `module.qualname`, and nothing is imported to find out. In this order, from
the exception itself to what is behind it:

1. the user's rules (`use`), the most specific class first;
2. the table, the most specific class first; a row that is vague waits for
3. the codes on the exception (HTTP status, errno, SQLSTATE ...), then for
4. what it wraps: SQLAlchemy's ``orig``, ``reason``, ``__cause__``, ``__context__`` ...

Runs for failed attempts only, and never raises.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue.core import category_codes
from otel_taskqueue.core.category_codes import is_a, look
from otel_taskqueue.core.category_table import PATTERNS, ROWS
from otel_taskqueue.semconv import Category

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Rule = tuple[str, str]
    Found = tuple[Category, bool]  # the category, and whether it is vague

_DEPTH: Final = 8
_TABLE: Final[dict[str, Found]] = {
    (f"{row.module}.{name}" if row.module else name): (row.category, row.vague)
    for row in ROWS
    for name in row.names.split()
}
_PATTERNS: Final = tuple((re.compile(fnmatch.translate(pattern)), found) for pattern, found in PATTERNS)
_rules_of: dict[str, tuple[Rule, ...]] = {}


def use(library: str, rules: Iterable[Rule]) -> None:
    """Apply the user's rules of one instrumented library: patterns of class names -> a category."""
    _rules_of[library] = tuple(rules)
    _ruled.cache_clear()
    _of_class.cache_clear()


def of(error: BaseException) -> Category:
    """The category of an exception."""
    try:
        return _of_chain(error) or Category.UNKNOWN
    except Exception:  # noqa: BLE001  a class whose very name cannot be read
        return Category.UNKNOWN


def of_name(name: str) -> Category | None:
    """The category of an exception of which only the class's name is known."""
    found = _known(name)
    return _ruled(name) or (found[0] if found else None)


def _of_chain(error: BaseException) -> Category | None:
    best: Category | None = None
    for link, is_certain in _chain(error):
        found = _of_one(link)
        if found is None:
            continue
        category, is_vague = found
        # A bug that was caught and turned into something else is what it was turned into.
        if best is None or (category is not Category.CODE and (is_certain or not is_vague)):
            best = category
        if not is_vague:
            break
    return best


def _of_one(error: BaseException) -> Found | None:
    known = _of_class(type(error))
    if known is not None and not known[1]:
        return known
    coded = category_codes.of(error)
    return (coded, False) if coded is not None else known


@functools.lru_cache(maxsize=256)
def _of_class(kind: type[BaseException]) -> Found | None:
    names = _names(kind)
    ruled = next(filter(None, map(_ruled, names)), None)
    if ruled is not None:
        return ruled, False
    return next(filter(None, map(_known, names)), None)


def _chain(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """The exception and what is behind it; True: it says so itself, False: it happened before it."""
    seen: set[int] = set()
    link: BaseException | None = error
    is_certain = True
    while link is not None and id(link) not in seen and len(seen) < _DEPTH:
        yield link, is_certain
        seen.add(id(link))
        wrapped = _wrapped(link)
        is_certain = wrapped is not None
        if wrapped is None and not look(link, "__suppress_context__"):
            wrapped = _exception(look(link, "__context__"))
        link = wrapped


def _wrapped(error: BaseException) -> BaseException | None:
    """The exception that this one names as its reason."""
    for name in ("__cause__",) if category_codes.is_bare(error) else ("orig", "reason", "__cause__"):
        inner = _exception(look(error, name))
        if inner is not None:
            return inner
    for name in ("exceptions", "args"):  # those of an ExceptionGroup, and what most were made from
        inside: Any = look(error, name)
        inner = _exception(inside[0]) if is_a(inside, tuple) and inside else None
        if inner is not None:
            return inner
    return None


def _exception(thing: Any) -> BaseException | None:
    return thing if is_a(thing, BaseException) else None


def _names(kind: type[BaseException]) -> Sequence[str]:
    return [
        base.__qualname__ if base.__module__ == "builtins" else f"{base.__module__}.{base.__qualname__}"
        for base in kind.__mro__
    ]


@functools.lru_cache(maxsize=256)
def _ruled(name: str) -> Category | None:
    for rules in _rules_of.values():
        for pattern, category in rules:
            if fnmatch.fnmatchcase(name, pattern):
                return Category(category)
    return None


@functools.lru_cache(maxsize=512)
def _known(name: str) -> Found | None:
    if name in _TABLE:
        return _TABLE[name]
    return next(((category, True) for pattern, category in _PATTERNS if pattern.match(name)), None)
