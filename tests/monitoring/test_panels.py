"""Every panel shows something: its queries are asked of a Prometheus that real workers have filled.

Workers of both libraries, observers, beat, Redis, RabbitMQ and two collectors, one of which can send nothing
on; jobs that succeed, fail, are retried, run out of time, are killed, come twice, wait, or cannot be sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests

from support import dashboards
from support.dashboards import Asked
from support.wait import wait_for
from support.watched import VERSION, Shop, running_shop

pytestmark = [pytest.mark.xdist_group("panels"), pytest.mark.timeout(300)]

QUERIES = dashboards.promql()
VARIABLES = [
    (uid, variable["name"], variable["query"]["query"])
    for uid, board in dashboards.load().items()
    for variable in board["templating"]["list"]
    if variable["type"] == "query"
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """All of it, after everything has happened twice."""
    with running_shop(tmp_path_factory.mktemp("watched")) as shop:
        yield shop


@pytest.mark.parametrize("asked", QUERIES, ids=lambda asked: f"{asked.board}-{asked.where}")
def test_a_panel_has_data(shop: Shop, asked: Asked) -> None:
    """At least one series with a value, all variables at `All`."""
    expr = dashboards.interpolate(asked.expr)
    instant = bool(asked.target.get("instant"))
    wait_for(lambda: shop.asked(expr, instant=instant), 30, str(asked), lambda: expr)


@pytest.mark.parametrize("system", ["celery", "rq"])
def test_the_overview_has_data_of_each_library(shop: Shop, system: str) -> None:
    """Celery's metrics were scraped, RQ's came by OTLP: nothing depends on the way."""
    for asked in QUERIES:
        if asked.board == "taskqueue-overview" and "$system" in asked.expr:
            expr = dashboards.interpolate(asked.expr, system=system)
            instant = bool(asked.target.get("instant"))
            wait_for(
                lambda expr=expr, instant=instant: shop.asked(expr, instant=instant),
                30,
                str(asked),
                lambda expr=expr: expr,
            )
            if asked.target.get("exemplar"):
                assert shop.exemplars(expr), expr


@pytest.mark.parametrize(
    "asked",
    [asked for asked in QUERIES if asked.target.get("exemplar")],
    ids=lambda asked: f"{asked.board}-{asked.where}",
)
def test_exemplars_name_a_trace(shop: Shop, asked: Asked) -> None:
    """What a click on one opens."""
    expr = dashboards.interpolate(asked.expr)
    found = wait_for(lambda: shop.exemplars(expr), 10, str(asked), lambda: expr)
    assert all(re.fullmatch("[0-9a-f]{32}", one["trace_id"]) for one in found)


@pytest.mark.parametrize(("uid", "name", "query"), VARIABLES)
def test_a_variable_has_values(shop: Shop, uid: str, name: str, query: str) -> None:
    """Those of the workers that ran, not an empty list."""
    found = re.fullmatch(r"label_values\((.*), *(\w+)\)", dashboards.interpolate(query))
    assert found is not None
    url = f"{shop.prometheus.url}/api/v1/label/{found[2]}/values"
    values = set(requests.get(url, params={"match[]": found[1]}, timeout=30).json()["data"])
    wanted = {
        "system": {"celery", "rq"},
        "queue": {shop.celery.queue, shop.rq.queue, "nobody-takes-these"},
        "task": {"support.apps.truth_celery.succeed", "support.apps.truth_rq.succeed"},
        "worker": {shop.celery.worker_name, shop.rq.names[0]},
    }
    assert wanted[name] <= values


def shown(shop: Shop, uid: str, title: str, number: int = 0) -> list[Mapping[str, Any]]:
    """What a panel shows at the end of its time range, as labels with a `value`."""
    (panel,) = (each for each in dashboards.panels(dashboards.load()[uid]) if each["title"] == title)
    expr = dashboards.interpolate(panel["targets"][number]["expr"])
    rows = shop.asked(expr, instant=False)
    return [{**row["metric"], "value": float(row["values"][-1][1])} for row in rows]


def test_the_figures_are_those_of_what_happened(shop: Shop) -> None:
    """Success rate, workers, load, backlog, kinds of failure and exits: what the workers really did."""
    (rate,) = shown(shop, "taskqueue-overview", "Success rate")
    assert 0 < rate["value"] < 1
    (up,) = shown(shop, "taskqueue-overview", "Workers up")
    assert up["value"] == 2
    busy = {shop.celery.worker_name: 0.5, shop.rq.names[0]: 1}
    wait_for(lambda: _load(shop) == busy, 10, f"the load is {busy}", lambda: _load(shop))
    ready = {row["messaging_destination_name"]: row["value"] for row in _ready(shop)}
    assert ready["nobody-takes-these"] == 6
    classes = shown(shop, "taskqueue-overview", "Error classes")
    assert {"timeout", "killed"} <= {row["taskqueue_failure_category"] for row in classes}
    assert "support.apps.errors.OrderError" in {row.get("error_type") for row in classes}
    reasons = {
        row["taskqueue_exit_reason"] for row in shown(shop, "taskqueue-workers", "Child processes that ended")
    }
    assert {"SIGKILL", "exit_code", "ok"} <= reasons
    versions = {row.get("service_version") for row in shown(shop, "taskqueue-workers", "Services")}
    assert VERSION in versions


def _load(shop: Shop) -> dict[str, float]:
    rows = shown(shop, "taskqueue-overview", "Worker load heat map")
    return {row["taskqueue_worker_name"]: row["value"] for row in rows}


def _ready(shop: Shop) -> list[Mapping[str, Any]]:
    return shown(shop, "taskqueue-queues", "Ready jobs by queue")


def test_alerts_that_fire_are_listed(shop: Shop) -> None:
    """By the shipped rules, of what happened here."""
    names = {row["alertname"] for row in shown(shop, "taskqueue-overview", "Firing alerts")}
    assert {"TaskFailingRepeatedly", "NoWorkersForQueue"} <= names


def test_a_task_chosen_is_the_only_one_shown(shop: Shop) -> None:
    """The variable reaches every query that has it."""
    failing = "support.apps.truth_celery.fail"
    (panel,) = (
        each
        for each in dashboards.panels(dashboards.load()["taskqueue-task"])
        if each["title"] == "Runs by outcome"
    )
    expr = dashboards.interpolate(panel["targets"][0]["expr"], task=failing)
    rows = shop.asked(expr, instant=False)
    assert {"failure"} == {row["metric"]["taskqueue_task_outcome"] for row in rows}
