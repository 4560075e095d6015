"""Rules with one thing changed: a number, a matcher, a window, ``for``, a comparison, a grouping, a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from support.monitoring import promql
from support.monitoring.promql import Token
from support.monitoring.rules import Rule

COMPARISONS = {
    ">": (">=", "<"),
    "<": ("<=", ">"),
    ">=": (">", "<"),
    "<=": ("<", ">"),
    "==": ("!=",),
    "!=": ("==",),
}
MATCHERS = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*"}
WORDS = {"and": "unless", "unless": "and", "or": "and"}
FUNCTIONS = {"sum": "max", "max": "min", "min": "max", "clamp_min": "clamp_max", "clamp_max": "clamp_min"}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed rule; ``what`` says in words what was changed."""

    rule: Rule
    what: str
    body: dict[str, Any]

    def __str__(self) -> str:
        """As the list of equivalent mutants names it."""
        return f"{self.rule.name}: {self.what}"


def mutants(rule: Rule) -> Iterator[Mutant]:
    """All changes of one rule."""
    seen: dict[str, int] = {}
    for token, text in _of_query(rule.expr):
        changed = rule.expr[: token.start] + text + rule.expr[token.end :]
        what = " ".join((f"{token.text} -> {text}" if text else f"without {token.text}").split())
        number = seen[what] = seen.get(what, 0) + 1
        yield Mutant(rule, f"{what} #{number}", {**rule.body, "expr": changed})
    if rule.is_alert:
        for text in _of_pause(rule.body["for"]):
            yield Mutant(rule, f"for {text}", {**rule.body, "for": text})
        labels = rule.body["labels"]
        yield Mutant(rule, "another severity", {**rule.body, "labels": {**labels, "severity": "none"}})
    else:
        for label in rule.body.get("labels", ()):
            changed = {**rule.body["labels"], label: "another"}
            yield Mutant(rule, f"another {label}", {**rule.body, "labels": changed})


def _of_query(expr: str) -> Iterator[tuple[Token, str]]:
    found = promql.tokens(expr)
    for place, token in enumerate(found):
        if token.kind == "number":
            yield from ((token, text) for text in _of_number(token.text))
        elif token.kind == "duration":
            yield from ((token, text) for text in _of_duration(token.text))
        elif token.kind == "operator":
            texts = (MATCHERS[token.text],) if token.within.startswith("{") else _of_operator(token.text)
            yield from ((token, text) for text in texts)
        elif token.kind == "string":
            yield from ((token, text) for text in _of_pattern(token.text))
            yield _matcher(expr, found, place), ""
        elif token.kind == "keyword" and token.text in WORDS:
            yield token, WORDS[token.text]
        elif token.kind == "function" and token.text in FUNCTIONS:
            yield token, FUNCTIONS[token.text]
        elif token.kind == "label" and token.within in promql.GROUPING:
            yield _with_comma(expr, token), ""


def _of_number(text: str) -> tuple[str, ...]:
    if text == "Inf":
        return ("0",)
    value = float(text)
    return ("1",) if value == 0 else (f"{value * 0.9:g}", f"{value * 1.1:g}")


def _of_duration(text: str) -> tuple[str, ...]:
    seconds = _seconds(text)
    return (f"{seconds * 500:.0f}ms", f"{seconds * 2000:.0f}ms")


def _of_pause(text: str) -> tuple[str, ...]:
    """None at all and twice as long; half of it may be less than between two evaluations."""
    seconds = _seconds(text)
    return ("0s", f"{seconds * 2000:.0f}ms") if seconds else ("1m",)


def _seconds(text: str) -> float:
    return sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"(\d+)([a-z]+)", text))


def _of_operator(text: str) -> tuple[str, ...]:
    return COMPARISONS.get(text) or (ARITHMETIC[text],)


def _of_pattern(text: str) -> Iterator[str]:
    """An alternation without each of its items; any other value changed."""
    items = text[1:-1].split("|")
    if len(items) == 1:
        yield '"another"'
        return
    for place in range(len(items)):
        yield '"' + "|".join(items[:place] + items[place + 1 :]) + '"'


def _matcher(expr: str, found: list[Token], place: int) -> Token:
    """The label, the operator and the value as one token."""
    start = found[place - 2].start
    return _with_comma(expr, Token("matcher", expr[start : found[place].end], start))


def _with_comma(expr: str, token: Token) -> Token:
    """With a comma behind it; the one before the last of a list."""
    behind = re.match(r"\s*,\s*", expr[token.end :])
    if behind:
        return Token(token.kind, token.text + behind.group(), token.start)
    before = re.search(r",\s*$", expr[: token.start])
    start = before.start() if before else token.start
    return Token(token.kind, expr[start : token.end], start)
