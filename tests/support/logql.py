"""The stages of LogQL that our panels use, on log records as Loki holds them.

A stage that is not known here is an error, so nobody writes one that the tests do not run.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from support.otlp import LogLine

SEVERITIES = {"DEBUG": 5, "INFO": 9, "WARN": 13, "WARNING": 13, "ERROR": 17, "CRITICAL": 21, "FATAL": 21}
#: Attributes of the resource that Loki makes labels of; all others are structured metadata.
LABELS = ("service.name", "service.namespace", "deployment.environment.name")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_STAGE = re.compile(
    r"""\s*(?:
      (?P<line>\|=|\|~|!=|!~)\s*(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)
    | \|\s*regexp\s+`(?P<regexp>[^`]*)`
    | \|\s*label_format\s+(?P<into>\w+)="(?P<template>(?:[^"\\]|\\.)*)"
    | \|\s*line_format\s+"(?P<format>(?:[^"\\]|\\.)*)"
    | \|\s*(?P<label>\w+)\s*(?P<compare>=~|!~|!=|>=|<=|=|>|<)\s*(?P<value>"(?:[^"\\]|\\.)*"|[\w.]+)
    )""",
    re.VERBOSE,
)
_NUMBERS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line as Loki holds it."""

    line: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str]


def entry(record: LogLine) -> Entry:
    """What Loki's OTLP endpoint makes of a record: dots become underscores."""
    resource = {key: str(value) for key, value in record.resource.attributes.items()}
    labels = {_name(key): value for key, value in resource.items() if key in LABELS}
    metadata = {_name(key): value for key, value in resource.items() if key not in LABELS}
    metadata |= {_name(key): str(value) for key, value in record.attributes.items()}
    metadata |= {"severity_text": record.severity, "severity_number": str(SEVERITIES[record.severity])}
    metadata |= {"trace_id": record.trace_id, "span_id": record.span_id} if record.trace_id else {}
    return Entry(str(record.body), labels, metadata)


def _name(key: str) -> str:
    return re.sub(r"\W", "_", key)


def pipeline(query: str) -> str:
    """The lines that a metric query counts; another query as it is."""
    inner = re.search(r"(?:rate|count_over_time)\((.*)\[[^]]*\]\)", query, re.DOTALL)
    return (inner[1] if inner else query).strip()


def select(query: str, entries: Iterable[Entry]) -> list[Entry]:
    """The lines that a query (without variables) lets pass.

    Raises:
        ValueError: it has a stage which is not known here.
    """
    selector = re.match(r'\{(\w+)=~"([^"]*)"\}', query)
    if selector is None:
        raise ValueError(query)
    label, pattern = selector.groups()
    found = [one for one in entries if re.fullmatch(pattern, one.labels.get(label, ""))]
    rest = query[selector.end() :].strip()
    while rest:
        stage = _STAGE.match(rest)
        if stage is None:
            raise ValueError(rest)
        found = [after for one in found if (after := _apply(stage, one)) is not None]
        rest = rest[stage.end() :].strip()
    return found


def _apply(stage: re.Match[str], one: Entry) -> Entry | None:
    if stage["line"]:
        return one if _line(stage["line"], stage["text"], one.line) else None
    if stage["regexp"]:
        groups = re.search(stage["regexp"], one.line)
        return Entry(one.line, one.labels, {**one.metadata, **(groups.groupdict() if groups else {})})
    if stage["into"]:
        return Entry(one.line, one.labels, {**one.metadata, stage["into"]: _fill(stage["template"], one)})
    if stage["format"]:
        return Entry(_fill(_unquoted(f'"{stage["format"]}"'), one), one.labels, one.metadata)
    return one if _compare(stage, one) else None


def _line(kind: str, text: str, line: str) -> bool:
    wanted = _unquoted(text)
    matches = wanted in line if kind in {"|=", "!="} else re.search(wanted, line) is not None
    return matches is not kind.startswith("!")


def _compare(stage: re.Match[str], one: Entry) -> bool:
    has, kind, value = one.metadata.get(stage["label"], ""), stage["compare"], stage["value"]
    if kind in _NUMBERS:
        return bool(has) and _NUMBERS[kind](_number(has), _number(value))
    wanted = _unquoted(value)
    same = has == wanted if kind in {"=", "!="} else re.fullmatch(wanted, has) is not None
    return same is not kind.startswith("!")


def _number(text: str) -> float:
    """A number, or a duration (7.5s, 1h2m3s) in seconds."""
    parts = re.findall(r"([0-9.]+)(ms|[hms])", text)
    return sum(float(value) * _UNITS[unit] for value, unit in parts) if parts else float(text)


def _fill(template: str, one: Entry) -> str:
    named = re.sub(r"{{\.(\w+)}}", lambda found: one.metadata.get(found[1], ""), template)
    return named.replace("{{__line__}}", one.line)


def _unquoted(text: str) -> Any:
    if text.startswith("`"):
        return text[1:-1]
    return text[1:-1].replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
