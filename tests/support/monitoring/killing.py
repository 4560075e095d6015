"""Which mutants the unit tests of the rules do not notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from support.monitoring import promtool
from support.monitoring.mutants import Mutant
from support.monitoring.promtool import Case
from support.monitoring.rules import Group, Rule, groups, needed


def survivors(program: Path, mutants: Sequence[Mutant], folder: Path) -> list[Mutant]:
    """Those that pass every test which has to do with them; the quickest and nearest are asked first."""
    for number, choose in enumerate((_boundaries, _near, _far)):
        mutants = _alive(program, mutants, choose, folder / str(number))
    return list(mutants)


def _alive(
    program: Path, mutants: Sequence[Mutant], choose: Callable[[Rule], list[Group]], folder: Path
) -> list[Mutant]:
    chosen = {mutant.rule.place: choose(mutant.rule) for mutant in mutants}
    asked = [
        (mutant, Case(group, {mutant.rule.place: mutant.body}))
        for mutant in mutants
        for group in chosen[mutant.rule.place]
    ]
    passed = promtool.passed(program, [case for _, case in asked], folder)
    killed = {id(mutant) for (mutant, _), well in zip(asked, passed, strict=True) if not well}
    return [mutant for mutant in mutants if id(mutant) not in killed]


def _boundaries(rule: Rule) -> list[Group]:
    """Of an alert the groups on both sides of its thresholds."""
    return [group for group in groups() if group.name.startswith(f"{rule.name}: boundary: ")]


def _near(rule: Rule) -> list[Group]:
    """The other groups that look at what the rule makes."""
    asked = [group for group in groups() if rule.name in group.asks and rule.file in group.rule_files]
    return [group for group in asked if group not in _boundaries(rule)]


def _far(rule: Rule) -> list[Group]:
    """The others in which the rule has a part."""
    return [
        group
        for group in groups()
        if rule.name not in group.asks and rule.file in group.rule_files and rule.place in needed(group.asks)
    ]
