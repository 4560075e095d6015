"""Unit tests of rules in bulk: each case evaluates only the rules that its group looks at."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.monitoring.rules import Group, needed, rules

AT_ONCE = 2
BATCH = 25


@dataclass(frozen=True, slots=True)
class Case:
    """A group of unit tests, to be run with some rules replaced by others (by their place)."""

    group: Group
    changed: Mapping[int, Mapping[str, Any]]


def valid(program: Path, bodies: Sequence[Mapping[str, Any]], folder: Path) -> list[bool]:
    """Which of these rules ``promtool check rules`` accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.json" for number in range(len(bodies))]
    for path, body in zip(paths, bodies, strict=True):
        path.write_text(json.dumps({"groups": [{"name": "g", "rules": [body]}]}))
    return _verdicts(program, "check", paths)


def passed(program: Path, cases: Sequence[Case], folder: Path) -> list[bool]:
    """Which of the cases pass; several processes at a time, several cases in each."""
    paths = [_write(case, folder / str(number)) for number, case in enumerate(cases)]
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda batch: _verdicts(program, "test", batch), batches))
    return [well for some in found for well in some]


def _verdicts(program: Path, what: str, paths: Sequence[Path]) -> list[bool]:
    """One word for each file, in their order; Prometheus 3 does not say which file it is about."""
    command = [str(program), what, "rules", *map(str, paths)]
    said = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout
    found = re.findall(r"^  (SUCCESS|FAILED)", said, re.MULTILINE)
    if len(found) != len(paths):
        raise AssertionError(f"{len(found)} verdicts about {len(paths)} files: {said[-2000:]}")
    return [word == "SUCCESS" for word in found]


def _write(case: Case, folder: Path) -> Path:
    folder.mkdir(parents=True)
    group, places = case.group, needed(case.group.asks)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for rule in rules():
        if rule.place in places and rule.file in group.rule_files:
            found.setdefault(rule.group, []).append(case.changed.get(rule.place, rule.body))
    written = {"groups": [{"name": name, "rules": bodies} for name, bodies in found.items()]}
    (folder / "rules.json").write_text(json.dumps(written))
    test = {
        "rule_files": ["rules.json"],
        "evaluation_interval": group.interval,
        "group_eval_order": [name for name in group.order if name in found],
        "tests": [group.body],
    }
    path = folder / "test.json"
    path.write_text(json.dumps(test))
    return path
