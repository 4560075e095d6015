"""A dashboard in Grafana's JSON, out of values: queries, panels, rows, variables.

Only what the dashboards here need. Positions and ids follow from the order of the panels. In an
expression ``@job``, ``@queue``, ``@worker``, ``@system`` and ``@schedule`` stand for the variables'
matchers of such series: ``taskqueue_task_runs_total{@job}``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitoring.grafana.model import Annotation, Dashboard, Panel, Query, Row, Variable

#: Of the JSON model; Grafana brings older ones up to date by itself.
SCHEMA_VERSION: Final = 41
COLUMNS: Final = 24
PROMETHEUS: Final = {"type": "prometheus", "uid": "${datasource}"}
LOKI: Final = {"type": "loki", "uid": "${loki}"}
TAG: Final = "otel-taskqueue"

_SYSTEM: Final = 'taskqueue_system=~"$system"'
_QUEUE: Final = f'{_SYSTEM},messaging_destination_name=~"$queue"'
MATCHERS: Final = {
    "system": _SYSTEM,
    "queue": _QUEUE,
    "job": f'{_QUEUE},taskqueue_task_name=~"$task"',
    "task": f'{_SYSTEM},taskqueue_task_name=~"$task"',
    "worker": f'{_SYSTEM},taskqueue_worker_name=~"$worker"',
    "schedule": _SYSTEM,
}

Json = dict[str, Any]


def expand(expr: str) -> str:
    """Put the variables' matchers in the place of their short names."""
    return re.sub(rf"(?<=[{{,])@({'|'.join(MATCHERS)})(?=[,}}])", lambda found: MATCHERS[found[1]], expr)


def dashboard(board: Dashboard) -> Json:
    """The JSON model of a dashboard."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.text,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": board.since, "to": "now"},
        "timezone": "browser",
        "links": [_dashboards()],
        "templating": {"list": [_variable(each) for each in board.variables]},
        "annotations": {"list": [_annotation(each) for each in board.annotations]},
        "panels": _placed(board.rows),
    }


def _dashboards() -> Json:
    return {
        "type": "dashboards",
        "title": "Task queues",
        "tags": [TAG],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }


def _variable(variable: Variable) -> Json:
    shared: Json = {
        "name": variable.name,
        "label": variable.label,
        "type": variable.kind,
        "hide": 2 if variable.hidden else 0,
    }
    if variable.kind == "datasource":
        return {**shared, "query": variable.query, "refresh": 1, "multi": False, "includeAll": False}
    if variable.kind == "textbox":
        return {
            **shared,
            "query": variable.query,
            "current": {"text": variable.query, "value": variable.query},
        }
    every = {"includeAll": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return {
        **shared,
        "datasource": PROMETHEUS,
        "query": {"query": expand(variable.query), "refId": variable.name},
        "definition": expand(variable.query),
        "refresh": 2,
        "sort": 1,
        "multi": variable.several,
        **(every if variable.several else {"includeAll": False}),
    }


def _annotation(annotation: Annotation) -> Json:
    return {
        "name": annotation.name,
        "datasource": PROMETHEUS,
        "enable": True,
        "iconColor": annotation.color,
        "expr": expand(annotation.expr),
        "titleFormat": annotation.title,
        "step": "60s",
        "useValueForTime": False,
    }


def _placed(rows: Sequence[Row]) -> list[Json]:
    """Fill line after line; ids count up from one."""
    placed: list[Json] = []
    top = 0
    for row in rows:
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        placed.append({"id": len(placed) + 1, **heading, "gridPos": _grid(0, top, COLUMNS, 1)})
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            grid = _grid(left, top, panel.width, panel.height)
            placed.append({"id": len(placed) + 1, **_panel(panel), "gridPos": grid})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return placed


def _grid(x: int, y: int, w: int, h: int) -> Json:
    return {"x": x, "y": y, "w": w, "h": h}


def _panel(panel: Panel) -> Json:
    links = [{"title": link.title, "url": link.url, "targetBlank": True} for link in panel.links]
    source = LOKI if panel.source == "loki" else PROMETHEUS
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": source,
        "targets": [_target(panel, number, query) for number, query in enumerate(panel.queries)],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "links": links,
                **panel.defaults,
                "custom": {**_CUSTOM.get(panel.kind, {}), **panel.custom},
            },
            "overrides": [],
        },
        "options": {**_OPTIONS.get(panel.kind, {}), **panel.options},
        "transformations": _table(panel) if panel.kind == "table" else [],
    }


def _target(panel: Panel, number: int, query: Query) -> Json:
    letter = chr(ord("A") + number)
    if panel.source == "loki":
        shared = {"refId": letter, "datasource": LOKI, "expr": query.expr, "queryType": "range"}
        return {**shared, "legendFormat": query.legend} if query.legend else shared
    buckets = panel.kind == "heatmap"
    return {
        "refId": letter,
        "datasource": PROMETHEUS,
        "editorMode": "code",
        "expr": expand(query.expr),
        "legendFormat": query.legend or ("{{le}}" if buckets else "__auto"),
        "format": "table" if panel.kind == "table" else "heatmap" if buckets else "time_series",
        "instant": query.instant,
        "range": not query.instant,
        "exemplar": query.exemplars,
    }


def _table(panel: Panel) -> list[Json]:
    """Only the named columns, in their order, under their headings; several queries are joined."""
    order = {name: place for place, name in enumerate(panel.columns)}
    joined: list[Json] = [{"id": "merge", "options": {}}] if len(panel.queries) > 1 else []
    return [
        *joined,
        {"id": "filterFieldsByName", "options": {"include": {"names": list(panel.columns)}}},
        {"id": "organize", "options": {"indexByName": order, "renameByName": dict(panel.columns)}},
    ]


_LEGEND: Final = {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull"]}
_CUSTOM: Final[Mapping[str, Json]] = {
    "timeseries": {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False},
    "state-timeline": {"lineWidth": 0, "fillOpacity": 80},
    "status-history": {"lineWidth": 1, "fillOpacity": 80},
}
_OPTIONS: Final[Mapping[str, Json]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"},
    "heatmap": {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Turbo", "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"unit": "s"},
    },
    "state-timeline": {"mergeValues": True, "showValue": "never", "rowHeight": 0.9},
    "status-history": {"showValue": "auto", "rowHeight": 0.9, "colWidth": 0.95},
    "table": {"showHeader": True, "cellHeight": "sm"},
    "logs": {
        "showTime": True,
        "wrapLogMessage": True,
        "enableLogDetails": True,
        "sortOrder": "Descending",
        "dedupStrategy": "none",
    },
}
