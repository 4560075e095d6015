"""One look: is everything well, and if not, which task, queue or worker is it?"""

from __future__ import annotations

from typing import Final

from monitoring.grafana import links
from monitoring.grafana.boards import common
from monitoring.grafana.boards.common import BAD, CLASSED, GOOD, JUDGED, grown, quantile
from monitoring.grafana.model import Dashboard, Panel, Query, Row

RUNS: Final = "taskqueue_task_runs_total"
DURATION: Final = "messaging_process_duration_seconds"
WAIT: Final = "taskqueue_task_wait_duration_seconds"
BY_TASK: Final = "taskqueue_system, taskqueue_task_name"

FIGURES: Final = (
    Panel(
        "Success rate",
        [
            Query(
                f"sum(rate({RUNS}{{@job,{GOOD}}}[$__rate_interval]))"
                f" / sum(rate({RUNS}{{@job,{JUDGED}}}[$__rate_interval]))"
            )
        ],
        kind="stat",
        text="Successes among the attempts that ended for good: retries, revoked, expired and ignored jobs"
        " do not count.",
        unit="percentunit",
        width=3,
        height=4,
        defaults=common.GOOD_SHARE,
    ),
    Panel(
        "Runs per second",
        [Query(f"sum(rate({RUNS}{{@job}}[$__rate_interval]))")],
        kind="stat",
        text="Attempts that ended, by any outcome.",
        unit="ops",
        width=3,
        height=4,
    ),
    Panel(
        "Failures per second",
        [Query(f"sum(rate({RUNS}{{@job,{BAD}}}[$__rate_interval]))")],
        kind="stat",
        text="Attempts that ended as failure, timeout, lost, unknown or rejected.",
        unit="ops",
        width=3,
        height=4,
        defaults=common.ZERO_IS_GOOD,
    ),
    Panel(
        "Backlog",
        [Query('sum(taskqueue_queue_size{@queue,taskqueue_queue_state="ready"})')],
        kind="stat",
        text="Jobs that are ready and wait, over all queues. Reported by `otel-taskqueue observe`.",
        width=3,
        height=4,
        links=[links.board("taskqueue-queues", "Queues")],
    ),
    Panel(
        "Oldest job",
        [Query("max(taskqueue_queue_oldest_age_seconds{@queue})")],
        kind="stat",
        text="How long the oldest job that is ready has been waiting.",
        unit="s",
        width=3,
        height=4,
        links=[links.board("taskqueue-queues", "Queues")],
    ),
    Panel(
        "Workers up",
        [Query("sum(taskqueue_worker_up{@worker})")],
        kind="stat",
        text="Workers that say so. One that crashed is gone after the collector's expiry.",
        width=3,
        height=4,
        links=[links.board("taskqueue-workers", "Workers")],
    ),
    Panel(
        "Health",
        [Query("min(taskqueue:health_score)")],
        kind="stat",
        text="0 to 100: the worst service's score. Its formula is in docs/health.md.",
        unit="none",
        width=3,
        height=4,
        defaults={
            "min": 0,
            "max": 100,
            **common.thresholds((None, "red"), (60, "orange"), (90, "green")),
        },
    ),
    Panel(
        "Alerts firing",
        [Query('count(ALERTS{alertstate="firing"}) or vector(0)')],
        kind="stat",
        text="Details at the bottom.",
        width=3,
        height=4,
        defaults=common.ZERO_IS_GOOD,
    ),
)

RATES: Final = (
    Panel(
        "Success rate by task",
        [
            Query(
                f"sum by ({BY_TASK}) (rate({RUNS}{{@job,{GOOD}}}[$__rate_interval]))"
                f" / sum by ({BY_TASK}) (rate({RUNS}{{@job,{JUDGED}}}[$__rate_interval]))"
                f" or 0 * sum by ({BY_TASK}) (rate({RUNS}{{@job,{BAD}}}[$__rate_interval]))",
                "{{taskqueue_task_name}}",
            )
        ],
        text="The last line of the query gives tasks which never succeeded a rate of 0.",
        unit="percentunit",
        defaults=common.SHARE,
        links=links.of_failures(),
    ),
    Panel(
        "Throughput by outcome",
        [
            Query(
                f"sum by (taskqueue_task_outcome) (rate({RUNS}{{@job}}[$__rate_interval]))",
                "{{taskqueue_task_outcome}}",
            )
        ],
        unit="ops",
        custom=common.STACKED,
        links=[
            links.tempo('span.taskqueue.task.outcome = "${__field.labels.taskqueue_task_outcome}"'),
        ],
    ),
    Panel(
        "Worker load heat map",
        [
            Query(
                "sum by (taskqueue_worker_name) (taskqueue_worker_slots_used{@worker})"
                " / sum by (taskqueue_worker_name) (taskqueue_worker_slots{@worker})",
                "{{taskqueue_worker_name}}",
            )
        ],
        kind="status-history",
        text="One line for each worker, red where all its slots run a job.",
        unit="percentunit",
        defaults={**common.SHARE, "color": {"mode": "continuous-GrYlRd"}},
        links=[
            links.board("taskqueue-workers", "This worker", worker="${__field.labels.taskqueue_worker_name}"),
            links.loki('| taskqueue_worker_name="${__field.labels.taskqueue_worker_name}"'),
        ],
    ),
    Panel(
        "Error classes",
        [
            Query(
                f"sum by (taskqueue_failure_category, error_type) ({grown(RUNS, CLASSED)})",
                "{{taskqueue_failure_category}}: {{error_type}}",
            )
        ],
        text="What kind of failure it was, and the exception; attempts that are retried are among them.",
        custom=common.BARS,
        links=[
            links.tempo('span.error.type = "${__field.labels.error_type}"', "Such traces in Tempo"),
            links.loki('| taskqueue_task_name!="" | severity_number >= 17', "Errors in Loki"),
        ],
    ),
)

TIMES: Final = (
    Panel(
        "Duration heat map",
        [Query(f"sum by (le) (increase({DURATION}_bucket{{@job}}[$__rate_interval]))", exemplars=True)],
        kind="heatmap",
        text="Each dot is an exemplar: a click on it opens its trace.",
    ),
    Panel(
        "Duration of runs",
        [
            Query(quantile(0.5, DURATION), "p50", exemplars=True),
            Query(quantile(0.95, DURATION), "p95", exemplars=True),
            Query(quantile(0.99, DURATION), "p99", exemplars=True),
        ],
        text="Each dot is an exemplar: a click on it opens its trace.",
        unit="s",
    ),
    Panel(
        "Waiting against running (p95)",
        [Query(quantile(0.95, WAIT), "wait", exemplars=True), Query(quantile(0.95, DURATION), "run")],
        text="Waiting above running: more workers help. Running above waiting: faster jobs do.",
        unit="s",
    ),
    Panel(
        "Wait by queue (p95)",
        [
            Query(
                quantile(0.95, WAIT, by="messaging_destination_name"),
                "{{messaging_destination_name}}",
                exemplars=True,
            )
        ],
        unit="s",
        links=[
            links.board(
                "taskqueue-queues", "This queue", queue="${__field.labels.messaging_destination_name}"
            )
        ],
    ),
)


def _top(title: str, expr: str, heading: str, unit: str, *, failed: bool = False) -> Panel:
    task = links.ROW_TASK
    return Panel(
        title,
        [Query(f"topk(10, {expr})", instant=True)],
        kind="table",
        unit=unit,
        width=6,
        links=links.of_failures(task) if failed else links.of_task(task),
        columns={"taskqueue_system": "System", "taskqueue_task_name": "Task", "Value": heading},
    )


def _mean(metric: str) -> str:
    return common.mean(metric, by=BY_TASK, window="$__range")


TOPS: Final = (
    _top(
        "Most failures",
        f"sum by ({BY_TASK}) ({grown(RUNS, f'@job,{BAD}', '$__range')}) > 0",
        "Failures",
        "none",
        failed=True,
    ),
    _top("Slowest", _mean(DURATION), "Mean duration", "s"),
    _top("Most processor time", _mean("taskqueue_task_cpu_time_seconds"), "Mean of a run", "s"),
    _top("Most memory", _mean("taskqueue_task_memory_peak_bytes"), "Mean peak", "bytes"),
)

ALERTS: Final = (
    Panel(
        "Firing alerts",
        [Query('ALERTS{alertstate="firing"}', instant=True)],
        kind="table",
        text="Each has a page in docs/runbooks.",
        width=16,
        columns={
            "alertname": "Alert",
            "severity": "Severity",
            "taskqueue_system": "System",
            "messaging_destination_name": "Queue",
            "taskqueue_task_name": "Task",
            "taskqueue_worker_name": "Worker",
        },
        links=links.of_failures(links.ROW_TASK),
    ),
    Panel(
        "Health by service",
        [Query("min by (job) (taskqueue:health_score)", "{{job}}")],
        text="100: no failures, short waits, no worker lost, no child killed.",
        unit="none",
        width=8,
        defaults={"min": 0, "max": 100},
        links=[
            links.tempo('resource.service.name = "${__field.labels.job}" && status = error'),
            links.jaeger("${__field.labels.job}", "error=true"),
            links.loki('| service_name="${__field.labels.job}" | severity_number >= 17'),
        ],
    ),
)

BOARD: Final = Dashboard(
    uid="taskqueue-overview",
    title="Task queues: overview",
    text="Whether jobs of Celery and RQ succeed, how long they take and wait, and who does the work.",
    rows=[
        Row("Now", FIGURES),
        Row("Runs", RATES),
        Row("Time", TIMES),
        Row("Tasks, over the whole time range", TOPS),
        Row("Alerts", ALERTS),
    ],
    variables=[
        common.DATASOURCE,
        common.SYSTEM,
        common.QUEUE,
        common.TASK,
        common.WORKER,
        *common.ELSEWHERE,
    ],
    annotations=common.ANNOTATIONS,
)
