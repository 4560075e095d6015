"""The committed dashboards as data: their queries, what these ask for, their links."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from otel_taskqueue import meters
from support.env import TESTS

ROOT = TESTS.parent
GRAFANA = ROOT / "monitoring" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
#: What Grafana puts in by itself.
INTERVALS = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h", "__auto": "1m"}
#: Suffixes by which Prometheus names units.
UNITS = {"s": "_seconds", "By": "_bytes"}
#: Labels that every series has: its process, and what the exporter adds.
EVERYWHERE = frozenset({"job", "instance", "__name__"})
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')
_LABELS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([A-Za-z_:][\w:]*)?\s*\{([^{}]*)\}")
_NAME = re.compile(r"(?<![\w:.$])([A-Za-z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORDS = {"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "inf", "nan"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of a dashboard.

    Args:
        board: the dashboard's uid.
        where: the panel's title, or what else it belongs to.
        target: its JSON.
        panel: the panel's JSON, empty where it is none.
    """

    board: str
    where: str
    expr: str
    target: Mapping[str, Any]
    panel: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_promql(self) -> bool:
        """Whether it is for Prometheus."""
        return self.target["datasource"]["type"] == "prometheus"

    def __str__(self) -> str:
        """For failures and the names of tests."""
        return f"{self.board}: {self.where}: {self.expr}"


def load() -> dict[str, dict[str, Any]]:
    """Each dashboard by its file's name."""
    return {path.stem: json.loads(path.read_text()) for path in FILES}


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels of a dashboard without the headings."""
    return (panel for panel in board["panels"] if panel["type"] != "row")


def queries() -> list[Asked]:
    """The queries of all panels, annotations included."""
    found: list[Asked] = []
    for uid, board in load().items():
        for panel in panels(board):
            found += [Asked(uid, panel["title"], each["expr"], each, panel) for each in panel["targets"]]
        found += [Asked(uid, each["name"], each["expr"], each) for each in board["annotations"]["list"]]
    return found


def promql() -> list[Asked]:
    """Those for Prometheus, each once for each dashboard."""
    return [asked for asked in queries() if asked.is_promql]


def interpolate(expr: str, **values: str) -> str:
    """The query as Grafana sends it: all values of each variable, unless ``values`` names one."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return values.get(name) or INTERVALS.get(name, ".*")

    return re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))", value, expr)


def prometheus_name(metric: meters.Metric) -> str:
    """The name after the default translation, without the suffixes of a histogram's series."""
    total = "_total" if metric.kind == "counter" else ""
    return metric.name.replace(".", "_") + UNITS.get(metric.unit, "") + total


def exported() -> dict[str, frozenset[str]]:
    """Every series that the package exports, with the labels it may have."""
    found: dict[str, frozenset[str]] = {}
    for metric in meters.TABLE:
        labels = EVERYWHERE | {name.replace(".", "_") for name in metric.attributes}
        name = prometheus_name(metric)
        if metric.kind == "histogram":
            found.update({f"{name}_sum": labels, f"{name}_count": labels, f"{name}_bucket": labels | {"le"}})
        else:
            found[name] = labels
    return found


def selectors(expr: str) -> list[tuple[str, frozenset[str]]]:
    """Each metric that a query asks for, with the labels that its matchers name."""
    plain = _LABELS.sub(" ", _STRING.sub('""', expr))
    found: list[tuple[str, frozenset[str]]] = []
    for name, matchers in _SELECTOR.findall(plain):
        labels = frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        found.append((name, labels))
    bare = re.sub(r"\[[^]]*\]|\b\d[\w.]*|offset\s+\S+", " ", _SELECTOR.sub(" ", plain))
    names = [name for name in _NAME.findall(bare) if name.lower() not in _WORDS]
    return found + [(name, frozenset()) for name in names]


def grouped(expr: str) -> frozenset[str]:
    """Labels by which a query groups or joins."""
    lists = [names for _, names in _LABELS.findall(_STRING.sub('""', expr))]
    return frozenset(name.strip() for names in lists for name in names.split(",") if name.strip())


def outer(expr: str) -> frozenset[str]:
    """Labels that the answer's series have: those of the first grouping."""
    first = _LABELS.search(_STRING.sub('""', expr))
    return frozenset(name.strip() for name in first[2].split(",")) if first else frozenset()


def links(panel: Mapping[str, Any]) -> list[str]:
    """The addresses behind a panel's values."""
    return [link["url"] for link in panel["fieldConfig"]["defaults"]["links"]]


def explored(panel: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The queries that its links open on the explore page."""
    return (target(url) for url in links(panel) if url.startswith("/explore"))


def target(url: str) -> dict[str, Any]:
    """The one query of a link to the explore page."""
    pane = json.loads(parse_qs(urlsplit(url).query)["panes"][0])["a"]
    (query,) = pane["queries"]
    assert pane["datasource"] == query["datasource"]["uid"]
    assert pane["range"] == {"from": "${__from}", "to": "${__to}"}
    return query
