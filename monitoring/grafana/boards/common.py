"""What several dashboards share: variables, annotations, and what counts as a failure."""

from __future__ import annotations

from typing import Any, Final

from monitoring.grafana.model import Annotation, Variable

#: Outcomes of an attempt that count against the success rate. A retry is not final; revoked, expired
#: and ignored jobs were not wanted any more.
BAD: Final = 'taskqueue_task_outcome=~"failure|timeout|lost|unknown|rejected"'
JUDGED: Final = 'taskqueue_task_outcome=~"success|failure|timeout|lost|unknown|rejected"'
GOOD: Final = 'taskqueue_task_outcome="success"'
CLASSED: Final = '@job,taskqueue_failure_category!=""'
#: Name of a worker beside its process: series of tasks know the process alone.
NAMED: Final = (
    "* on (job, instance) group_left(taskqueue_worker_name)"
    " (max by (job, instance, taskqueue_worker_name) (taskqueue_worker_up{@worker}))"
)

DATASOURCE: Final = Variable("datasource", "Prometheus", "prometheus", "datasource")
SYSTEM: Final = Variable("system", "System", "label_values(taskqueue_worker_up, taskqueue_system)")
QUEUE: Final = Variable(
    "queue",
    "Queue",
    'label_values({__name__=~"taskqueue_queue_size|taskqueue_task_runs_total",@system},'
    " messaging_destination_name)",
)
TASK: Final = Variable("task", "Task", "label_values(taskqueue_task_runs_total{@queue}, taskqueue_task_name)")
ONE_TASK: Final = Variable("task", "Task", TASK.query, several=False)
WORKER: Final = Variable(
    "worker", "Worker", "label_values(taskqueue_worker_up{@system}, taskqueue_worker_name)"
)
#: Where links and log panels lead.
ELSEWHERE: Final = tuple(
    Variable(kind, kind.capitalize(), kind, "datasource", hidden=True) for kind in ("tempo", "jaeger", "loki")
)

DEPLOYED: Final = Annotation(
    "New versions",
    'count by (job, service_version) (target_info{service_version!=""})'
    ' unless count by (job, service_version) (target_info{service_version!=""} offset 2m)',
    "{{job}} {{service_version}}",
    "blue",
)
ALERTING: Final = Annotation(
    "Firing alerts",
    'ALERTS{alertstate="firing"} unless ALERTS{alertstate="firing"} offset 2m',
    "{{alertname}} {{taskqueue_task_name}}{{taskqueue_worker_name}}",
    "red",
)
ANNOTATIONS: Final = (DEPLOYED, ALERTING)


def thresholds(*steps: tuple[float | None, str]) -> dict[str, Any]:
    """Colours from a value on; the first step has no value."""
    listed = [{"value": value, "color": color} for value, color in steps]
    return {"thresholds": {"mode": "absolute", "steps": listed}, "color": {"mode": "thresholds"}}


#: High is good (a share), high is bad (a number).
SHARE: Final = {"min": 0, "max": 1}
GOOD_SHARE: Final = {**SHARE, **thresholds((None, "red"), (0.95, "orange"), (0.99, "green"))}
ZERO_IS_GOOD: Final = thresholds((None, "green"), (1e-9, "red"))
STACKED: Final = {"stacking": {"mode": "normal"}, "fillOpacity": 40}
BARS: Final = {"drawStyle": "bars", **STACKED, "fillOpacity": 80, "lineWidth": 0}


def quantile(share: float, metric: str, matchers: str = "@job", by: str = "") -> str:
    """A quantile of a histogram over the interval between two points."""
    groups = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({groups})"
        f" (rate({metric}_bucket{{{matchers}}}[$__rate_interval])))"
    )


def mean(metric: str, matchers: str = "@job", by: str = "", window: str = "$__rate_interval") -> str:
    """The mean of a histogram."""
    group = f"sum by ({by})" if by else "sum"
    return (
        f"{group} (rate({metric}_sum{{{matchers}}}[{window}]))"
        f" / {group} (rate({metric}_count{{{matchers}}}[{window}]))"
    )


def grown(metric: str, matchers: str, window: str = "$__rate_interval") -> str:
    """By how much each series of a counter grew, also one which is new: its first sample is no zero.

    As the recording rules do it, see there.
    """
    series = f"{metric}{{{matchers}}}"
    return (
        f"(last_over_time({series}[{window}]) unless last_over_time({series}[1h] offset {window})"
        f" unless on (job, instance) (taskqueue:process_away offset {window}))"
        f" and on () (taskqueue:rules_running offset {window})"
        f" or increase({series}[{window}])"
    )
