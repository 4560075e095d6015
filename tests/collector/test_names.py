"""Configurations act on names that the package emits: a renamed one would switch a filter off silently."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_taskqueue import meters, semconv
from support.configurations import FILES, name

# Names in our namespaces, as OTTL statements, regular expressions (dots escaped) and lists have them.
OURS = re.compile(r"\b(?:taskqueue|messaging)(?:\\*\.[a-z_]+)+\b")
ALTERNATIVES = re.compile(r"(\w+(?:\\*\.\w+)*\\*\.)\(([\w.|\\]+)\)")


def emitted() -> set[str]:
    """Every name of an attribute, event or metric, and every prefix of one."""
    constants = {value for value in vars(semconv).values() if isinstance(value, str)}
    metrics = {metric.name for metric in vars(meters).values() if isinstance(metric, meters.Metric)}
    return constants | metrics


def spoken_of(text: str) -> set[str]:
    """The names in a configuration; `a.(b|c)` is a.b and a.c."""
    spelt = ALTERNATIVES.sub(lambda m: " ".join(m[1] + last for last in m[2].split("|")), text)
    return {found.replace("\\", "") for found in OURS.findall(spelt)}


@pytest.mark.parametrize("path", FILES, ids=map(name, FILES))
def test_names_are_those_that_we_emit(path: Path) -> None:
    """Comments too: what they speak of must exist."""
    assert spoken_of(path.read_text()) <= emitted()


def test_names_are_found_in_all_spellings() -> None:
    """The check sees what it is to check."""
    text = (
        r'"^(taskqueue\\.task\\.(args|kwargs)|x)$" span.attributes["messaging.system"] == "taskqueue.retry"'
    )
    assert spoken_of(text) == {
        *("taskqueue.task.args", "taskqueue.task.kwargs", "messaging.system", "taskqueue.retry"),
    }


def test_payloads_are_removed_by_the_tiers_that_redact() -> None:
    """All attributes that may hold a payload are named in gateway.yaml."""
    (gateway,) = [path for path in FILES if name(path) == "gateway.yaml"]
    payloads = {semconv.TASK_ARGS, semconv.TASK_KWARGS}
    assert payloads <= spoken_of(gateway.read_text())
