"""One task: how often, how well, how long, at what cost, and what it said."""

from __future__ import annotations

from typing import Final

from monitoring.grafana import links
from monitoring.grafana.boards import common
from monitoring.grafana.boards.common import BAD, CLASSED, JUDGED, grown, mean, quantile
from monitoring.grafana.model import Dashboard, Panel, Query, Row

RUNS: Final = "taskqueue_task_runs_total"
DURATION: Final = "messaging_process_duration_seconds"
WAIT: Final = "taskqueue_task_wait_duration_seconds"
TOTAL: Final = "taskqueue_task_total_duration_seconds"
CPU: Final = "taskqueue_task_cpu_time_seconds"
PEAK: Final = "taskqueue_task_memory_peak_bytes"
GROWTH: Final = "taskqueue_task_memory_growth_bytes"
ATTEMPTS: Final = "taskqueue_task_attempts"
RAISED: Final = '@job,error_type!=""'
THIS: Final = links.of_task("${task}")
FAILED: Final = links.of_failures("${task}")

RED: Final = (
    Panel(
        "Runs by outcome",
        [
            Query(
                f"sum by (taskqueue_task_outcome) (rate({RUNS}{{@job}}[$__rate_interval]))",
                "{{taskqueue_task_outcome}}",
            )
        ],
        unit="ops",
        width=8,
        custom=common.STACKED,
        links=THIS[1:],
    ),
    Panel(
        "Share of failures",
        [
            Query(
                f"sum(rate({RUNS}{{@job,{BAD}}}[$__rate_interval]))"
                f" / sum(rate({RUNS}{{@job,{JUDGED}}}[$__rate_interval]))"
            )
        ],
        text="Among the attempts that ended for good.",
        unit="percentunit",
        width=8,
        defaults=common.SHARE,
        links=FAILED[1:],
    ),
    Panel(
        "Duration",
        [
            Query(quantile(0.5, DURATION), "p50", exemplars=True),
            Query(quantile(0.95, DURATION), "p95", exemplars=True),
            Query(quantile(0.99, DURATION), "p99", exemplars=True),
        ],
        text="Each dot is an exemplar: a click on it opens its trace.",
        unit="s",
        width=8,
        links=THIS[1:],
    ),
    Panel(
        "Duration heat map",
        [Query(f"sum by (le) (increase({DURATION}_bucket{{@job}}[$__rate_interval]))", exemplars=True)],
        kind="heatmap",
        width=8,
    ),
    Panel(
        "Wait",
        [
            Query(quantile(0.5, WAIT), "p50", exemplars=True),
            Query(quantile(0.95, WAIT), "p95", exemplars=True),
        ],
        text="How long its jobs were ready and waited.",
        unit="s",
        width=8,
    ),
    Panel(
        "Total time over all attempts (p95)",
        [
            Query(
                quantile(0.95, TOTAL, by="taskqueue_task_outcome"),
                "{{taskqueue_task_outcome}}",
                exemplars=True,
            )
        ],
        text="From the first enqueueing to the final outcome: what a user waits for.",
        unit="s",
        width=8,
    ),
)

FAILURES: Final = (
    Panel(
        "Exceptions",
        [
            Query(
                f"sum by (error_type) ({grown(RUNS, RAISED)})",
                "{{error_type}}",
            )
        ],
        width=8,
        custom=common.BARS,
        links=[
            links.tempo(
                'span.taskqueue.task.name = "${task}" && span.error.type = "${__field.labels.error_type}"',
                "Such traces in Tempo",
            ),
            FAILED[2],
        ],
    ),
    Panel(
        "Kinds of failure",
        [
            Query(
                f"sum by (taskqueue_failure_category) ({grown(RUNS, CLASSED)})",
                "{{taskqueue_failure_category}}",
            )
        ],
        width=8,
        custom=common.BARS,
        links=FAILED[1:],
    ),
    Panel(
        "Attempts of a job",
        [
            Query(mean(ATTEMPTS), "mean"),
            Query(quantile(0.95, ATTEMPTS), "p95"),
        ],
        text="Attempts that its jobs took to their final outcome.",
        width=8,
    ),
    Panel(
        "Retries",
        [Query(f'sum(rate({RUNS}{{@job,taskqueue_task_outcome="retry"}}[$__rate_interval]))', "retries")],
        unit="ops",
        width=8,
        links=[links.tempo('span.taskqueue.task.name = "${task}" && event:name = "taskqueue.retry"')],
    ),
    Panel(
        "Duplicates",
        [
            Query(
                "sum by (messaging_destination_name) (taskqueue_duplicates_total{@job})",
                "{{messaging_destination_name}}",
            )
        ],
        text="Jobs that the broker delivered again after this worker had finished them; counted since the"
        " worker's start.",
        width=8,
    ),
    Panel(
        "Services that run it",
        [Query(f"sum by (job, taskqueue_system) (increase({RUNS}{{@job}}[$__range]))", instant=True)],
        kind="table",
        text="Jaeger looks traces up by service: its links are here.",
        width=8,
        columns={"job": "Service", "taskqueue_system": "System", "Value": "Runs"},
        links=[
            links.jaeger("${__data.fields.job}", "taskqueue.task.name=${task}"),
            links.jaeger(
                "${__data.fields.job}", "taskqueue.task.name=${task} error=true", "Failed traces in Jaeger"
            ),
        ],
    ),
)

COST: Final = (
    Panel(
        "Processor time of a run",
        [Query(mean(CPU), "mean"), Query(quantile(0.95, CPU), "p95", exemplars=True)],
        unit="s",
        width=8,
    ),
    Panel(
        "Memory of a run (peak)",
        [Query(mean(PEAK), "mean"), Query(quantile(0.95, PEAK), "p95")],
        text="Largest resident memory of the process that ran it.",
        unit="bytes",
        width=8,
    ),
    Panel(
        "Memory that a run left behind",
        [Query(mean(GROWTH), "mean"), Query(quantile(0.95, GROWTH), "p95")],
        text="A mean that stays above zero is a leak.",
        unit="bytes",
        width=8,
    ),
    Panel(
        "Running now",
        [
            Query(
                "sum by (messaging_destination_name) (taskqueue_task_active{@job})",
                "{{messaging_destination_name}}",
            )
        ],
        width=8,
    ),
    Panel(
        "Oldest attempt that runs now",
        [Query("max by (taskqueue_system) (taskqueue_task_active_max_age_seconds{@task})")],
        unit="s",
        width=8,
    ),
    Panel(
        "Enqueued and taken",
        [
            Query("sum(rate(messaging_client_sent_messages_total{@job}[$__rate_interval]))", "enqueued"),
            Query("sum(rate(messaging_client_consumed_messages_total{@job}[$__rate_interval]))", "taken"),
        ],
        unit="ops",
        width=8,
    ),
)

LOGS: Final = (
    Panel(
        "Last failures, with traceback",
        [
            Query(
                f'{links.LINES} | taskqueue_task_name="$task" | severity_number >= 17'
                ' | line_format "{{__line__}}\\n{{.exception_stacktrace}}"'
            )
        ],
        kind="logs",
        source="loki",
        text="The trace id in a line's details opens its trace.",
    ),
    Panel(
        "Its log lines", [Query(f'{links.LINES} | taskqueue_task_name="$task"')], kind="logs", source="loki"
    ),
)

BOARD: Final = Dashboard(
    uid="taskqueue-task",
    title="Task queues: one task",
    text="Rate, errors and duration of one task, its retries, what it uses, its traces and lines.",
    rows=[
        Row("Rate, errors, duration", RED),
        Row("Failures and retries", FAILURES),
        Row("Load", COST),
        Row("Log lines (Loki)", LOGS),
    ],
    variables=[common.DATASOURCE, common.SYSTEM, common.QUEUE, common.ONE_TASK, *common.ELSEWHERE],
    annotations=common.ANNOTATIONS,
)
