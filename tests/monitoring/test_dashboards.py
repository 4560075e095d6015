"""The dashboards' form: what Grafana would refuse or show empty is found without Grafana."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from support import dashboards
from support.backends.programs import require
from support.dashboards import Asked
from support.env import base_env

BOARDS = dashboards.load()
QUERIES = dashboards.promql()
EXPORTED = dashboards.exported()
#: Series of other programs; that they are there, and have these labels, is seen by the real run.
FOREIGN = ("otelcol_", "rabbitmq_", "ALERTS", "target_info", "up")
EXPECTED = {"overview", "task", "queues", "workers", "schedules", "telemetry", "logs"}
DATASOURCES = yaml.safe_load((dashboards.GRAFANA / "provisioning/datasources/datasources.yaml").read_text())
PROVIDERS = yaml.safe_load((dashboards.GRAFANA / "provisioning/dashboards/dashboards.yaml").read_text())
RULES = dashboards.ROOT / "monitoring" / "prometheus"
boards = pytest.mark.parametrize("uid", sorted(BOARDS))


def test_every_dashboard_is_there() -> None:
    """File, uid and title of each."""
    assert {f"taskqueue-{name}" for name in EXPECTED} == set(BOARDS)
    assert {board["uid"] for board in BOARDS.values()} == set(BOARDS)
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


def test_the_committed_files_are_what_the_code_makes() -> None:
    """Somebody edits one and not the other: seen here."""
    command = [sys.executable, "-m", "monitoring.grafana", "--check"]
    asked = subprocess.run(
        command, cwd=dashboards.ROOT, env=base_env(), capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr


@boards
def test_ids_titles_and_places_are_unique(uid: str) -> None:
    """No two panels have one id or title, or lie on each other."""
    panels = BOARDS[uid]["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells


def test_promtool_takes_every_query(tmp_path: Path) -> None:
    """Each as a recording rule of its own."""
    assert len(QUERIES) > 100
    rules = [
        {"record": f"query:{number}", "expr": dashboards.interpolate(asked.expr)}
        for number, asked in enumerate(QUERIES)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    command = [str(require("promtool")), "check", "rules", str(path)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr + asked.stdout
    assert f"{len(rules)} rules found" in asked.stdout


@pytest.mark.parametrize("asked", QUERIES, ids=lambda asked: f"{asked.board}-{asked.where}")
def test_a_query_asks_for_what_is_exported(asked: Asked) -> None:
    """Its metrics, and the labels that it selects, groups and joins by, are those of meters.py."""
    known: set[str] = set(dashboards.EVERYWHERE)
    foreign = False
    found = dashboards.selectors(asked.expr)
    assert found
    for name, labels in found:
        if name in EXPORTED:
            assert labels <= EXPORTED[name], (name, labels - EXPORTED[name])
            known |= EXPORTED[name]
        elif name in _recorded():
            known |= set().union(*EXPORTED.values())
        else:
            assert name == "" or name.startswith(FOREIGN), f"nobody exports {name}"
            foreign = True
    assert foreign or dashboards.grouped(asked.expr) <= known


def test_dashboards_and_rules_mean_the_same_by_a_failure() -> None:
    """The outcomes that count against the success rate, here and in the recording rules."""

    def sets(text: str) -> set[frozenset[str]]:
        found = re.findall(r'taskqueue_task_outcome=~\\?"([\w|]+)', text)
        return {frozenset(one.split("|")) for one in found}

    rules = sets((RULES / "recording.yaml").read_text())
    shown = {one for asked in QUERIES for one in sets(asked.expr)}
    assert shown == rules
    assert len(shown) == 2


def _recorded() -> set[str]:
    """What the recording rules make."""
    return set(re.findall(r"record: (\S+)", (RULES / "recording.yaml").read_text()))


@pytest.mark.parametrize("asked", QUERIES, ids=lambda asked: f"{asked.board}-{asked.where}")
def test_legends_columns_and_links_name_labels_of_the_answer(asked: Asked) -> None:
    """What is not in the answer would stay empty."""
    labels = dashboards.outer(asked.expr)
    by_itself = not re.search(r"\b(sum|max|min|count|topk|avg)\b", asked.expr)
    if by_itself:
        return
    legend = asked.target.get("legendFormat", "")
    assert set(re.findall(r"{{(\w+)}}", legend)) <= labels
    text = json.dumps(dashboards.links(asked.panel)) if asked.panel else ""
    assert set(re.findall(r"\$\{__field\.labels\.(\w+)\}", text)) <= labels
    columns = _columns(asked.panel)
    assert set(re.findall(r"\$\{__data\.fields\.(\w+)\}", text)) <= set(columns)
    assert {column for column in columns if not column.startswith("Value")} <= labels


def _columns(panel: Any) -> list[str]:
    for step in panel.get("transformations", ()):
        if step["id"] == "filterFieldsByName":
            return step["options"]["include"]["names"]
    return []


@boards
def test_only_variables_that_exist_are_used(uid: str) -> None:
    """`$task` on a dashboard without such a variable would select nothing."""
    board = BOARDS[uid]
    have = {variable["name"] for variable in board["templating"]["list"]}
    texts = json.dumps([board["panels"], board["annotations"], board["templating"]])
    used = {braced or bare for braced, bare in re.findall(r"\$(?:\{(\w+)[}:]|([a-z]\w*))", texts)}
    assert used - have <= set(dashboards.INTERVALS) | {"__from", "__to", "__url_time_range"}
    assert {"datasource", "tempo", "jaeger", "loki"} <= have


def test_the_variables_that_were_asked_for() -> None:
    """Data source, system, queue, task and worker on the overview."""
    have = [variable["name"] for variable in BOARDS["taskqueue-overview"]["templating"]["list"]]
    assert ["datasource", "system", "queue", "task", "worker"] == have[:5]


@boards
def test_traces_and_log_lines_are_a_click_away(uid: str) -> None:
    """Every dashboard leads to Loki, and to Tempo where it shows jobs."""
    urls = [url for panel in dashboards.panels(BOARDS[uid]) for url in dashboards.links(panel)]
    kinds = {dashboards.target(url)["datasource"]["type"] for url in urls if url.startswith("/explore")}
    assert "loki" in kinds
    assert "tempo" in kinds or uid == "taskqueue-telemetry"
    assert "jaeger" in kinds or uid != "taskqueue-task"


def test_links_are_what_grafana_can_open() -> None:
    """A known dashboard, or an explore page with one query for a source that is a variable."""
    seen = 0
    for uid, board in BOARDS.items():
        for panel in dashboards.panels(board):
            for url in dashboards.links(panel):
                seen += 1
                if url.startswith("/d/"):
                    assert url.split("?")[0].removeprefix("/d/") in BOARDS, url
                    continue
                source = dashboards.target(url)["datasource"]
                assert source["uid"] == f"${{{source['type']}}}", (uid, panel["title"])
    assert seen > 60


def test_durations_have_exemplars_and_these_lead_to_traces() -> None:
    """On every quantile of what the package measures in spans, and in the data source."""
    for asked in QUERIES:
        if asked.panel and asked.expr.startswith("histogram_quantile") and "_duration_" in asked.expr:
            on_panel = [target["exemplar"] for target in asked.panel["targets"]]
            assert any(on_panel), asked.where
    (prometheus,) = (each for each in DATASOURCES["datasources"] if each["type"] == "prometheus")
    destinations = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert [("trace_id", "tempo"), ("trace_id", "jaeger")] == [
        (each["name"], each["datasourceUid"]) for each in destinations
    ]


def test_data_sources_know_each_other() -> None:
    """Each uid that one names is one of them; addresses come from the environment, secrets are not here."""
    uids = {each["uid"] for each in DATASOURCES["datasources"]}
    assert {"prometheus", "tempo", "jaeger", "loki", "alertmanager"} == uids
    named = re.findall(r"datasourceUid: (\S+)", yaml.safe_dump(DATASOURCES))
    assert named
    assert set(named) <= uids
    for each in DATASOURCES["datasources"]:
        assert re.fullmatch(r"\$[A-Z]+_URL", each["url"]), each["url"]
        assert "secureJsonData" not in each


def test_the_provider_reads_the_folder_that_the_stack_mounts() -> None:
    """And nobody changes a dashboard in the browser that the next start overwrites."""
    (provider,) = PROVIDERS["providers"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards/otel-taskqueue"
    assert provider["allowUiUpdates"] is False


def test_what_links_hold_is_escaped_once() -> None:
    """Grafana's variables stay readable, all else is percent-encoded."""
    url = next(
        url
        for panel in dashboards.panels(BOARDS["taskqueue-overview"])
        for url in dashboards.links(panel)
        if url.startswith("/explore")
    )
    panes = url.split("panes=")[1]
    assert "${__from}" in panes
    assert not set(re.sub(r"\$\{[^}]*\}", "", panes)) & set('{}" ')
    assert "%25" not in panes
    assert '{"a":' in unquote(panes)
