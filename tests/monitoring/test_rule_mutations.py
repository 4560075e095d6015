"""Each thing in the rules is changed, one at a time; a unit test must notice.

Changed are numbers (a tenth more and less), windows and offsets (half and twice), ``for``, comparisons,
arithmetic, `and`, `or`, `unless`, aggregations, matchers (turned round, left out, another value), each item
of an alternation, each label of a grouping, severities. What promtool refuses is no mutant.
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from support.backends.programs import require
from support.monitoring import killing, promtool, rules
from support.monitoring.mutants import Mutant, mutants

pytestmark = [pytest.mark.xdist_group("rule-mutations"), pytest.mark.timeout(600)]

#: Mutants (as patterns of fnmatch) that mean the same as the rule, and why.
EQUIVALENT = {
    **dict.fromkeys(
        (
            "taskqueue:*:increase5m: 5m -> 600000ms #1",
            "taskqueue:task_duration:*10m: 10m -> 1200000ms #1",
            "taskqueue:*:increase15m: 15m -> 1800000ms #1",
            "taskqueue:*:increase30m: 30m -> 3600000ms #1",
            "taskqueue:*:increase1h: 1h -> 7200000ms #1",
            "taskqueue:*:increase6h: 6h -> 43200000ms #1",
        ),
        "how far a new series is looked for: the next line takes out what is older than the window",
    ),
    **dict.fromkeys(
        (
            "taskqueue:health_workers: [*] -> / #1",
            "ThroughputLow: [*] -> / #1",
            "ThroughputBelowObjective: [*] -> / #1",
        ),
        "0 times or divided by something that is not 0",
    ),
    "taskqueue:rules_running: 1 -> *": "only that it is there counts",
    "taskqueue:task_retries:increase5m: sum -> max #1": "one series each, it only loses a label",
    "taskqueue:task_timeouts:increase30m: sum -> max #1": "one series each, it only loses a label",
    "taskqueue:worker_silent: max -> min #1": "all of its values are 1",
    "taskqueue:worker_silent: 30m -> 3600000ms #2": "the largest time is the last one, and young",
    "taskqueue:telemetry:silence_seconds: 30m -> 3600000ms #1": "only workers silent for less than it ask",
    "taskqueue:worker_silent: 30m -> 3600000ms #3": "the largest time is the last one, and young",
}


@pytest.mark.parametrize("group", dict.fromkeys(rule.group for rule in rules.rules()))
def test_no_change_of_a_rule_goes_unnoticed(group: str, tmp_path: Path) -> None:
    """Of the rules of one group."""
    program = require("promtool")
    changed = [mutant for rule in rules.rules() if rule.group == group for mutant in mutants(rule)]
    accepted = promtool.valid(program, [mutant.body for mutant in changed], tmp_path / "valid")
    judged = [mutant for mutant, well in zip(changed, accepted, strict=True) if well]
    assert len(judged) > 0.9 * len(changed)
    found = killing.survivors(program, [one for one in judged if not _excused(one)], tmp_path / "killed")
    assert [str(mutant) for mutant in found] == []


def _excused(mutant: Mutant) -> bool:
    return any(fnmatch(str(mutant), pattern) for pattern in EQUIVALENT)


def test_what_is_excused_exists() -> None:
    """A pattern that fits nothing any more has to go."""
    names = [str(mutant) for rule in rules.rules() for mutant in mutants(rule)]
    assert [pattern for pattern in EQUIVALENT if not any(fnmatch(name, pattern) for name in names)] == []
