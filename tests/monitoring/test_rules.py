"""Rules for Prometheus: promtool's unit tests pass, are complete, and all names are those we export."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from otel_taskqueue import meters
from otel_taskqueue.core import worker
from otel_taskqueue.semconv import Outcome
from support import dashboards
from support.backends.programs import require
from support.monitoring import promql, promtool, rules
from support.monitoring.promtool import Case
from support.monitoring.rules import FOLDER, Group, Rule

DOCS = FOLDER.parents[1] / "docs"
RULES = rules.rules()
GROUPS = rules.groups()
ALERTS = [rule for rule in RULES if rule.is_alert]
#: RabbitMQ's own, of its plugin.
ALARMS = ("rabbitmq_alarms_memory_used_watermark", "rabbitmq_alarms_free_disk_space_watermark")
EXPORTED = {**dashboards.exported(), **dict.fromkeys(ALARMS, dashboards.EVERYWHERE)}
RECORDED = {rule.name for rule in RULES if not rule.is_alert}
LABELS = frozenset[str]().union(*EXPORTED.values())
#: Beginnings of what other programs export.
FOREIGN = ("otelcol_", "rabbitmq_")
alerts = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


# --- promtool -----------------------------------------------------------------------------------------
def test_promtool_accepts_every_file_of_rules() -> None:
    """As the page about health says it."""
    command = [str(require("promtool")), "check", "rules", *(str(FOLDER / name) for name in rules.RULE_FILES)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert sum(map(int, re.findall(r"SUCCESS: (\d+) rules", said.stdout))) == len(RULES)


@pytest.mark.parametrize("path", rules.TEST_FILES, ids=lambda path: path.stem)
def test_the_unit_tests_pass(path: Path, tmp_path: Path) -> None:
    """Each group for itself, with the rules that it needs."""
    found = [group for group in GROUPS if group.file == path.name]
    assert found
    passed = promtool.passed(require("promtool"), [Case(group, {}) for group in found], tmp_path)
    assert [group.name for group, well in zip(found, passed, strict=True) if not well] == []


@pytest.mark.parametrize("name", ["workers.yaml"])
def test_the_files_are_what_promtool_runs(name: str) -> None:
    """By the command of the docs, with all rules."""
    assert "promtool test rules tests/*.yaml" in (DOCS / "health.md").read_text()
    command = [str(require("promtool")), "test", "rules", f"tests/{name}"]
    said = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=150, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_files_name_all_groups_in_their_order() -> None:
    """Without it promtool evaluates them in any order, and what depends on another is late by chance."""
    order = list(dict.fromkeys(rule.group for rule in RULES))
    for group in GROUPS:
        known = [name for name in order if _file_of(name) in group.rule_files]
        assert sorted(group.order) == sorted(known), group.file


def _file_of(group: str) -> str:
    return next(rule.file for rule in RULES if rule.group == group)


# --- completeness ---------------------------------------------------------------------------------------
@alerts
def test_an_alert_has_tests_of_three_kinds(alert: Rule) -> None:
    """It fires on what workers export, with all labels and texts; it stays silent; it has a threshold."""
    mine = [group for group in GROUPS if group.name.startswith(f"{alert.name}: ")]
    kinds = {kind: [group for group in mine if f": {kind}: " in group.name] for kind in _KINDS}
    assert all(kinds.values()), {kind: len(found) for kind, found in kinds.items()}
    assert sum(map(len, kinds.values())) == len(mine)
    positive = [test for group in kinds["positive"] for test in group.body.get("alert_rule_test", ())]
    fired = [expected for test in positive for expected in test["exp_alerts"]]
    assert fired
    assert not all(test["exp_alerts"] for test in positive), "nothing says when it begins"
    for expected in fired:
        assert expected["exp_labels"]["severity"] == alert.body["labels"]["severity"]
        texts = expected["exp_annotations"]
        assert all(texts.values()), "an empty text"
        assert not [text for text in texts.values() if re.search(r"[?&]var-\w+=(?:&|$)", text)], "all of it"
        assert set(expected["exp_annotations"]) == set(alert.body["annotations"])
    silent = [test for group in kinds["negative"] for test in group.body["alert_rule_test"]]
    assert silent
    assert not any(test["exp_alerts"] for test in silent)
    seen = [test["exp_samples"] for group in kinds["boundary"] for test in _of_alert(group, alert)]
    assert any(seen)


_KINDS = ("positive", "negative", "boundary")


def _of_alert(group: Group, alert: Rule) -> list[Any]:
    tests = group.body["promql_expr_test"]
    return [test for test in tests if f'alertname="{alert.name}", alertstate="firing"' in test["expr"]]


@alerts
def test_positive_and_negative_tests_feed_what_workers_export(alert: Rule) -> None:
    """A test of the recorded series alone would not notice that nobody makes them (thresholds may)."""
    for group in GROUPS:
        if group.name.startswith((f"{alert.name}: positive", f"{alert.name}: negative")):
            for series in group.body["input_series"]:
                assert promql.metrics(series["series"]) <= set(EXPORTED), group.name


def test_every_recorded_series_is_tested() -> None:
    """By itself or by what is made of it."""
    used = set[int]().union(*(rules.needed(group.asks) for group in GROUPS))
    assert [rule.name for rule in RULES if rule.place not in used] == []


# --- names -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_asks_for_what_is_exported(rule: Rule) -> None:
    """Metrics and labels are those of meters.py, as Prometheus writes them, or RabbitMQ's."""
    assert promql.metrics(rule.expr) <= EXPORTED.keys() | RECORDED
    for metric, label in promql.matched(rule.expr):
        assert label in EXPORTED.get(metric, LABELS), (metric, label)
    assert promql.grouped(rule.expr) <= LABELS
    assert set(rule.body.get("labels", ())) <= LABELS | {"severity"}
    texts = " ".join(rule.body.get("annotations", {}).values())
    assert set(re.findall(r"\$labels\.(\w+)|label \"(\w+)\"", texts)) <= {
        *((label, "") for label in LABELS),
        *(("", label) for label in LABELS),
    }


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group.file}-{group.name}")
def test_a_unit_test_feeds_series_as_they_are_exported(group: Group) -> None:
    """With all labels that they really have; a promoted one, and a series' own, may come on top."""
    for row in group.body["input_series"]:
        (metric,) = promql.metrics(row["series"])
        labels = {label for _, label in promql.matched(row["series"])}
        if metric in RECORDED:
            assert labels <= LABELS
            continue
        assert labels - EXPORTED[metric] <= {"service_version"}, row["series"]
        may_lack = {"error_type", "taskqueue_failure_category", "messaging_operation_type", "__name__"}
        lacking = EXPORTED[metric] - labels - may_lack
        assert not lacking or "boundary" in group.name or group.file == "recording.yaml", (row, lacking)


def test_values_of_labels_are_values_that_we_give() -> None:
    """Outcomes, reasons of exits and states of queues in the rules."""
    known = {
        "taskqueue_task_outcome": {outcome.value for outcome in Outcome},
        "taskqueue_exit_reason": {worker.OOM, *(number.name for number in signal.Signals)},
        "taskqueue_queue_state": {"ready", "reserved", "scheduled", "deferred", "failed"},
    }
    found = [pair for rule in RULES for pair in _values(rule.expr)]
    assert {label for label, _ in found} >= known.keys()
    for label, value in found:
        assert label not in known or value in known[label], (label, value)


def _values(expr: str) -> Iterator[tuple[str, str]]:
    for label, values in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]+)"', expr):
        yield from ((label, value) for value in values.split("|"))


def test_thresholds_of_quantiles_and_means_are_boundaries_of_the_histograms() -> None:
    """Between two boundaries a quantile is an estimate, above the last one it is not known."""
    objectives = {
        rule.name: float(match[1])
        for rule in RULES
        if (match := re.fullmatch(r"vector\((.+)\)", rule.expr)) and rule.file.startswith("slo")
    }
    assert objectives["taskqueue:objective_duration_seconds"] in meters.RUN
    waits = [float(rule.expr[7:-1]) for rule in RULES if rule.name == "taskqueue:objective_wait_seconds"]
    assert len(waits) == 2
    assert set(waits) <= set(meters.WAIT)
    assert 300 in meters.RUN


# --- where an alert leads ---
@alerts
def test_an_alert_has_a_tier_a_summary_a_dashboard_and_a_page(alert: Rule) -> None:
    """The page says what to look at and what to do, the dashboard is one of ours."""
    assert alert.body["labels"]["severity"] in {"critical", "warning", "ticket"}
    assert "for" in alert.body
    texts = alert.body["annotations"]
    assert {"summary", "description", "dashboard", "runbook_url"} <= set(texts)
    page = DOCS / "runbooks" / Path(texts["runbook_url"]).name
    assert page.stem == alert.name
    assert [line for line in page.read_text().splitlines() if line.startswith("#")] == [
        f"# {alert.name}",
        "## Look at",
        "## Do",
        "## Its threshold",
    ]
    assert page.read_text().splitlines()[2].lower().startswith(alert.body["labels"]["severity"])
    uid = re.fullmatch(r"/d/([\w-]+)(\?.*)?", texts["dashboard"])
    assert uid is not None
    assert uid[1] in dashboards.load()
    assert f"`{uid[1]}`" in page.read_text()
    selections = {variable["name"] for variable in dashboards.load()[uid[1]]["templating"]["list"]}
    assert {name.removeprefix("var-") for name in parse_qs(urlsplit(texts["dashboard"]).query)} <= selections


def test_the_run_book_has_no_page_of_an_alert_that_is_gone() -> None:
    """And its table has all."""
    names = {alert.name for alert in ALERTS}
    pages = {path.stem for path in (DOCS / "runbooks").glob("*.md")}
    assert pages == names | {"README"}
    assert names == set(re.findall(r"^\| \[(\w+)\]", (DOCS / "runbooks/README.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", sorted((DOCS / "runbooks").glob("*.md")), ids=lambda path: path.stem)
def test_queries_and_links_of_a_page_are_right(path: Path) -> None:
    """Queries ask for what is exported or recorded; links lead to a file."""
    for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL):
        for line in block.splitlines():
            asked = promql.metrics(line)
            assert asked
            assert all(name in EXPORTED or name in RECORDED or name.startswith(FOREIGN) for name in asked)
            for metric, label in promql.matched(line):
                assert label in EXPORTED.get(metric, LABELS), (metric, label)
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_promtool_takes_the_queries_of_the_run_book(tmp_path: Path) -> None:
    """Each as a rule."""
    pages = "".join(path.read_text() for path in (DOCS / "runbooks").glob("*.md"))
    lines = "".join(re.findall(r"```promql\n(.*?)```", pages, re.DOTALL)).splitlines()
    bodies = [{"record": "query", "expr": line} for line in lines]
    assert len(bodies) > len(ALERTS)
    well = promtool.valid(require("promtool"), bodies, tmp_path)
    assert [line for line, good in zip(lines, well, strict=True) if not good] == []


def test_the_page_about_health_knows_every_objective_and_factor() -> None:
    """A series that the rules make for people is explained."""
    text = (DOCS / "health.md").read_text()
    for rule in RULES:
        if rule.name.startswith(("taskqueue:objective_", "taskqueue:health_")):
            assert f"`{rule.name}`" in text, rule.name
    wanted = {"taskqueue:queue_drain_seconds", "taskqueue:task_success:ratio5m"}
    assert all(f"`{name}`" in text for name in wanted)


def test_prometheus_loads_all_files_of_rules() -> None:
    """But for the example."""
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert set(configuration["rule_files"]) == set(rules.RULE_FILES) - {"slo.example.yaml"}
