"""The rules for Prometheus and their unit tests as data, and which of them need each other."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from support.env import TESTS
from support.monitoring import promql

FOLDER = TESTS.parent / "monitoring" / "prometheus"
#: In the order in which they depend on each other.
RULE_FILES = ("slo.yaml", "slo.example.yaml", "recording.yaml", "alerts.yaml")
TEST_FILES = sorted((FOLDER / "tests").glob("*.yaml"))


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it stands in a file; ``place`` is its number among all rules."""

    place: int
    file: str
    group: str
    body: Mapping[str, Any]

    @property
    def is_alert(self) -> bool:
        """Whether it is an alert."""
        return "alert" in self.body

    @property
    def name(self) -> str:
        """Of the alert, or of the series that it records."""
        return self.body["alert"] if self.is_alert else self.body["record"]

    @property
    def expr(self) -> str:
        """The query."""
        return self.body["expr"]

    @property
    def uses(self) -> frozenset[str]:
        """Names of the series that it asks for, in annotations too."""
        asked = re.findall(r"taskqueue:[\w:]+", str(self.body.get("annotations", {})))
        return promql.metrics(self.expr) | frozenset(asked)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of unit tests: one set of series and what is expected of it."""

    file: str
    interval: str
    order: tuple[str, ...]
    rule_files: frozenset[str]
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``<alert or series>: <kind>: <what happens>``."""
        return self.body["name"]

    @property
    def asks(self) -> frozenset[str]:
        """Names of the alerts and series that it looks at."""
        found = {test["alertname"] for test in self.body.get("alert_rule_test", ())}
        for test in self.body.get("promql_expr_test", ()):
            found |= promql.metrics(test["expr"]) - {"ALERTS"}
            found |= set(re.findall(r'alertname="(\w+)"', test["expr"]))
        return frozenset(found)


@functools.cache
def rules() -> tuple[Rule, ...]:
    """Every rule of every file."""
    found: list[Rule] = []
    for file in RULE_FILES:
        for group in yaml.safe_load((FOLDER / file).read_text())["groups"]:
            found += [
                Rule(len(found) + number, file, group["name"], body)
                for number, body in enumerate(group["rules"])
            ]
    return tuple(found)


@functools.cache
def groups() -> tuple[Group, ...]:
    """Every group of unit tests."""
    found: list[Group] = []
    for path in TEST_FILES:
        document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        order, files = tuple(document["group_eval_order"]), document["rule_files"]
        named = frozenset(file.removeprefix("../") for file in files)
        found += [
            Group(path.name, document["evaluation_interval"], order, named, body)
            for body in document["tests"]
        ]
    return tuple(found)


def needed(names: Iterable[str]) -> frozenset[int]:
    """Places of the rules that make these alerts and series, and of all that those ask for."""
    by_name: dict[str, list[Rule]] = {}
    for rule in rules():
        by_name.setdefault(rule.name, []).append(rule)
    wanted, places = list(names), set[int]()
    while wanted:
        for rule in by_name.get(wanted.pop(), ()):
            if rule.place not in places:
                places.add(rule.place)
                wanted += rule.uses
    return frozenset(places)
