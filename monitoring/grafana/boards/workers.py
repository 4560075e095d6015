"""Workers: who is up, who has room, whose children die."""

from __future__ import annotations

from typing import Final

from monitoring.grafana import links
from monitoring.grafana.boards import common
from monitoring.grafana.boards.common import grown
from monitoring.grafana.model import Dashboard, Panel, Query, Row

WORKER: Final = "taskqueue_worker_name"
NAME: Final = "{{taskqueue_worker_name}}"
EXITS: Final = "taskqueue_worker_process_exits_total"
ABNORMAL: Final = '@worker,taskqueue_exit_reason!~"ok|recycled"'
LABEL: Final = "${__field.labels.taskqueue_worker_name}"
OF_WORKER: Final = (
    links.tempo(f'span.taskqueue.worker.name = "{LABEL}"'),
    links.loki(f'| taskqueue_worker_name="{LABEL}"'),
)
MAPPINGS: Final = [
    {
        "type": "value",
        "options": {"0": {"text": "stopped", "color": "blue"}, "1": {"text": "up", "color": "green"}},
    }
]

LIFE: Final = (
    Panel(
        "Up",
        [Query(f"max by ({WORKER}) (taskqueue_worker_up{{@worker}})", NAME)],
        kind="state-timeline",
        text="Green: up. Blue: it stopped because it was asked to. A line that just ends: it crashed.",
        width=24,
        defaults={"mappings": MAPPINGS},
        links=OF_WORKER,
    ),
    Panel(
        "Age of the last heartbeat",
        [Query(f"max by ({WORKER}) (taskqueue_worker_heartbeat_age_seconds{{@worker}})", NAME)],
        text="Reported by `otel-taskqueue observe`. Celery gives one every 2 s; RQ every 30 s while a job"
        " runs, and every 405 s when idle.",
        unit="s",
        links=OF_WORKER,
    ),
    Panel(
        "Child processes that ended",
        [
            Query(
                f"sum by ({WORKER}, taskqueue_exit_reason) ({grown(EXITS, '@worker')})",
                NAME + ": {{taskqueue_exit_reason}}",
            )
        ],
        text="By reason: ok and recycled are part of a worker's life. RQ's work-horses end after each job.",
        custom=common.BARS,
        links=OF_WORKER,
    ),
    Panel(
        "Abnormal exits, over the whole time range",
        [
            Query(
                f"sum by ({WORKER}, taskqueue_exit_reason) ({grown(EXITS, ABNORMAL, '$__range')}) > 0",
                instant=True,
            )
        ],
        kind="table",
        unit="none",
        links=[
            links.tempo(
                'span.taskqueue.worker.name = "${__data.fields.taskqueue_worker_name}" && status = error'
            ),
            links.loki(
                '| taskqueue_worker_name="${__data.fields.taskqueue_worker_name}" | severity_number >= 13'
            ),
        ],
        columns={
            "taskqueue_worker_name": "Worker",
            "taskqueue_exit_reason": "Reason",
            "Value": "Processes",
        },
    ),
    Panel(
        "Services",
        [Query("count by (job, service_version) (target_info)", instant=True)],
        kind="table",
        text="Processes that export metrics, by service and version: workers, producers, observers.",
        columns={"job": "Service", "service_version": "Version", "Value": "Processes"},
        unit="none",
    ),
)

LOAD: Final = (
    Panel(
        "Load of each worker",
        [
            Query(
                f"sum by ({WORKER}) (taskqueue_worker_slots_used{{@worker}})"
                f" / sum by ({WORKER}) (taskqueue_worker_slots{{@worker}})",
                NAME,
            )
        ],
        kind="status-history",
        text="The share of its slots that run a job.",
        unit="percentunit",
        width=24,
        defaults={**common.SHARE, "color": {"mode": "continuous-GrYlRd"}},
        links=OF_WORKER,
    ),
    Panel(
        "Slots",
        [
            Query("sum(taskqueue_worker_slots{@worker})", "there"),
            Query("sum(taskqueue_worker_slots_used{@worker})", "used"),
        ],
        text="Used at there for long: jobs wait for a slot.",
    ),
    Panel(
        "Messages held and not started",
        [Query(f"sum by ({WORKER}) (taskqueue_worker_prefetched{{@worker}})", NAME)],
        text="Much here and idle workers elsewhere: lower the prefetch.",
        links=OF_WORKER,
    ),
    Panel(
        "Runs by worker",
        [
            Query(
                f"sum by ({WORKER}) (sum by (job, instance)"
                f" (rate(taskqueue_task_runs_total{{@job}}[$__rate_interval])) {common.NAMED})",
                NAME,
            )
        ],
        unit="ops",
        links=OF_WORKER,
    ),
    Panel(
        "Processor time of jobs by worker",
        [
            Query(
                f"sum by ({WORKER}) (sum by (job, instance)"
                f" (rate(taskqueue_task_cpu_time_seconds_sum{{@job}}[$__rate_interval])) {common.NAMED})",
                NAME,
            )
        ],
        text="Processors that its jobs keep busy.",
        unit="none",
        links=OF_WORKER,
    ),
    Panel(
        "Running jobs by task",
        [Query("sum by (taskqueue_task_name) (taskqueue_task_active{@job})", "{{taskqueue_task_name}}")],
        custom=common.STACKED,
        links=links.of_task(),
    ),
    Panel(
        "Oldest attempt that runs now",
        [
            Query(
                "max by (taskqueue_task_name) (taskqueue_task_active_max_age_seconds{@task})",
                "{{taskqueue_task_name}}",
            )
        ],
        text="A line that only climbs is a stuck job.",
        unit="s",
        links=links.of_task(),
    ),
)

BOARD: Final = Dashboard(
    uid="taskqueue-workers",
    title="Task queues: workers",
    text="Who is up, who has room, whose children die, what runs for too long.",
    rows=[Row("Life", LIFE), Row("Load", LOAD)],
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
