"""Every scenario in every setting that the table runs."""

from __future__ import annotations

import pytest

from conformance.checks import check
from conformance.scenarios import SCENARIOS, Scenario
from conformance.table import BROKERS, POOLS, Setting, cells, installed, settings
from support.audit import audit
from support.harness import Harness

CELLS = [cell for cell in cells() if not cell.reason]


def in_group(setting: Setting, *values: object, name: str) -> object:
    """The tests of one worker stay in one test process."""
    mark = pytest.mark.xdist_group(str(setting))
    return pytest.param(setting, *values, id=name, marks=mark)


@pytest.mark.parametrize(
    ("setting", "scenario"),
    [in_group(cell.setting, cell.scenario, name=str(cell)) for cell in CELLS],
)
def test_each_attempt_is_told_once_and_truly(harness: Harness, scenario: Scenario) -> None:
    """Exactly one process span per attempt, with the truth about how it ended."""
    job = harness.run(scenario.calls[harness.room])
    harness.checked[job.id] = len(scenario.attempts)
    check(harness, scenario, job)


@pytest.mark.parametrize("setting", [in_group(setting, name=f"{setting}-stop") for setting in settings()])
def test_a_warm_stop_leaves_nothing_undone_nothing_doubled_and_no_secret(harness: Harness) -> None:
    """The worker stops by itself; afterwards no attempt was told twice and no password was sent."""
    harness.fence()
    audit(harness, harness.stop_worker())


def test_each_scenario_is_run_or_has_a_reason_in_each_room() -> None:
    """The table leaves nothing out silently."""
    for scenario in SCENARIOS:
        assert set(scenario.calls) | set(scenario.absent) == set(POOLS) == set(BROKERS)
        assert not set(scenario.calls) & set(scenario.absent)


def test_each_scenario_runs_on_the_default_pool_of_each_room_that_offers_it() -> None:
    """The breadth of the table is what it says."""
    run = {(cell.scenario.name, cell.setting.room, cell.setting.broker) for cell in CELLS}
    for scenario in SCENARIOS:
        for room in scenario.calls:
            for broker in BROKERS[room] if installed(room) >= scenario.since.get(room, ()) else ():
                assert (scenario.name, room, broker) in run
