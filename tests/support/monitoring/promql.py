"""A tokenizer of PromQL: enough to name what a query uses and to change one token of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    | (?P<duration>\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*)
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\bInf\b|\bNaN\b)
    | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<operator>=~|!~|!=|==|>=|<=|[-+*/%^><=@])
    | (?P<mark>[](){},[])
    """,
    re.VERBOSE,
)
KEYWORDS = frozenset({"and", "or", "unless", "offset", "bool"})
#: Words before a list of labels.
GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query.

    Args:
        kind: string, duration, number, operator, mark, keyword, grouping, function, metric, label.
        text: as it stands there.
        start: its place in the query.
        within: the word before the list of labels, the metric before the matchers, that it belongs to.
    """

    kind: str
    text: str
    start: int
    within: str = ""

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.start + len(self.text)


def tokens(expr: str) -> list[Token]:
    """All tokens of a query, without spaces.

    Raises:
        ValueError: a character that PromQL does not have.
    """
    found: list[Token] = []
    opened: list[str] = []  # for each open bracket what it belongs to
    for match in _matches(expr):
        kind, text = match.lastgroup or "", match.group()
        within = opened[-1] if opened else ""
        if kind == "word":
            kind = _kind_of_word(text, within, expr[match.end() :])
        before = found[-1].text if found else ""
        if text == "{":
            opened.append("{" + (before if found and found[-1].kind == "metric" else ""))
        elif text in "([":
            opened.append(before if before in GROUPING else "")
        elif text in ")]}":
            opened.pop()
        found.append(Token(kind, text, match.start(), within))
    return found


def metrics(expr: str) -> frozenset[str]:
    """Names of the series that a query asks for."""
    return frozenset(token.text for token in tokens(expr) if token.kind == "metric")


def matched(expr: str) -> frozenset[tuple[str, str]]:
    """Pairs of metric and label that matchers name."""
    return frozenset(
        (token.within[1:], token.text)
        for token in tokens(expr)
        if token.kind == "label" and token.within.startswith("{")
    )


def grouped(expr: str) -> frozenset[str]:
    """Labels by which a query groups or joins."""
    return frozenset(
        token.text for token in tokens(expr) if token.kind == "label" and token.within in GROUPING
    )


def _matches(expr: str) -> Iterator[re.Match[str]]:
    place = 0
    while place < len(expr):
        match = _TOKEN.match(expr, place)
        if match is None:
            raise ValueError(f"what is {expr[place:]!r}?")
        place = match.end()
        if match.lastgroup != "space":
            yield match


def _kind_of_word(text: str, within: str, rest: str) -> str:
    if within in GROUPING or within.startswith("{"):
        return "label"
    if text in GROUPING:
        return "grouping"
    if text in KEYWORDS:
        return "keyword"
    if re.match(r"\s*\(|\s+(by|without)\b", rest):
        return "function"
    return "metric"
