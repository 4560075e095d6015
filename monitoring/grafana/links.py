"""Where a click leads: other dashboards, traces in Tempo and in Jaeger, log lines in Loki.

The addresses of Grafana's explore page hold a JSON document; Grafana fills in its variables before
it opens them. ``${__field.labels.x}`` is a label of the series, ``${__data.fields.x}`` a table's column.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import quote, unquote

from monitoring.grafana.model import Link

#: Hidden variables of every dashboard: the data sources that links and log panels use.
TEMPO, JAEGER, LOKI = "${tempo}", "${jaeger}", "${loki}"
TASK: Final = "${__field.labels.taskqueue_task_name}"
ROW_TASK: Final = "${__data.fields.taskqueue_task_name}"
_VARIABLE: Final = re.compile(r"%24%7B.+?%7D")


def explore(datasource: str, kind: str, **query: Any) -> str:
    """The address of the explore page with one query, over the dashboard's time range."""
    target = {"refId": "A", "datasource": {"type": kind, "uid": datasource}, **query}
    pane = {
        "datasource": datasource,
        "queries": [target],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    panes = quote(json.dumps({"a": pane}, separators=(",", ":")), safe="")
    return f"/explore?schemaVersion=1&orgId=1&panes={_VARIABLE.sub(lambda found: unquote(found[0]), panes)}"


def tempo(condition: str, title: str = "Traces in Tempo") -> Link:
    """Traces with a span that meets a condition of TraceQL."""
    return Link(title, explore(TEMPO, "tempo", queryType="traceql", query=f"{{ {condition} }}", limit=20))


def jaeger(service: str, tags: str, title: str = "Traces in Jaeger") -> Link:
    """Traces of a service with these tags (logfmt); Jaeger finds none without a service."""
    return Link(title, explore(JAEGER, "jaeger", queryType="search", service=service, tags=tags, limit=20))


def loki(pipeline: str, title: str = "Log lines in Loki") -> Link:
    """Log lines that pass a pipeline of LogQL."""
    return Link(title, explore(LOKI, "loki", queryType="range", expr=f"{LINES} {pipeline}"))


def board(uid: str, title: str, **values: str) -> Link:
    """Another dashboard, with variables set and the time range kept."""
    chosen = "".join(f"&var-{name}={value}" for name, value in values.items())
    return Link(title, f"/d/{uid}?${{datasource:queryparam}}&${{__url_time_range}}{chosen}")


#: Every line of a service; the task's fields are structured metadata, never labels.
LINES: Final = '{service_name=~".+"}'


def of_task(task: str = TASK) -> tuple[Link, ...]:
    """The task's own dashboard, its traces, its lines."""
    return (
        board("taskqueue-task", "This task", task=task),
        tempo(f'span.taskqueue.task.name = "{task}"'),
        loki(f'| taskqueue_task_name="{task}"'),
    )


def of_failures(task: str = TASK) -> tuple[Link, ...]:
    """The same, of what failed."""
    return (
        board("taskqueue-task", "This task", task=task),
        tempo(f'span.taskqueue.task.name = "{task}" && status = error', "Failed traces in Tempo"),
        loki(f'| taskqueue_task_name="{task}" | severity_number >= 17', "Errors in Loki"),
    )
