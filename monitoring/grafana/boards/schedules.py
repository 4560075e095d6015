"""Schedules: what ran when, how late, and what did not run at all."""

from __future__ import annotations

from typing import Final

from monitoring.grafana import links
from monitoring.grafana.boards import common
from monitoring.grafana.boards.common import grown, quantile
from monitoring.grafana.model import Dashboard, Panel, Query, Row

NAME: Final = "{{taskqueue_schedule_name}}"
SCHEDULE: Final = "taskqueue_schedule_name"
BY: Final = f"taskqueue_system, {SCHEDULE}"
LAG: Final = "taskqueue_schedule_lag_seconds"
MISSED: Final = "taskqueue_schedule_missed_total"
LAST: Final = "taskqueue_schedule_last_run_seconds"
SENT: Final = (
    links.tempo("kind = producer", "Enqueue calls in Tempo"),
    links.loki('|~ "(?i)scheduler|beat|cron"', "Schedulers' lines in Loki"),
)

PANELS: Final = (
    Panel(
        "Schedules",
        [
            Query(f"time() - max by ({BY}) ({LAST}{{@schedule}})", instant=True),
            Query(f"max by ({BY}) ({MISSED}{{@schedule}})", instant=True),
        ],
        kind="table",
        text="Seconds since the last run, and runs missed since the observer's start.",
        width=24,
        columns={
            "taskqueue_system": "System",
            "taskqueue_schedule_name": "Schedule",
            "Value #A": "Seconds since last run",
            "Value #B": "Missed",
        },
        links=SENT,
    ),
    Panel(
        "Time since the last run",
        [Query(f"time() - max by ({SCHEDULE}) ({LAST}{{@schedule}})", NAME)],
        text="A saw: it falls at each run.",
        unit="s",
        links=SENT,
    ),
    Panel(
        "Runs missed",
        [Query(f"max by ({SCHEDULE}) ({grown(MISSED, '@schedule')})", NAME)],
        text="Due and not come within a minute.",
        custom=common.BARS,
        links=SENT,
    ),
    Panel(
        "Lateness (p95)",
        [Query(quantile(0.95, LAG, "@schedule", SCHEDULE), NAME)],
        text="How late a schedule enqueued its job.",
        unit="s",
        links=SENT,
    ),
    Panel(
        "Lateness heat map",
        [Query(f"sum by (le) (increase({LAG}_bucket{{@schedule}}[$__rate_interval]))")],
        kind="heatmap",
    ),
)

BOARD: Final = Dashboard(
    uid="taskqueue-schedules",
    title="Task queues: schedules",
    text="Beat, `rq cron` and RQ's scheduler, as `otel-taskqueue observe` sees them.",
    rows=[Row("Beat, cron and RQ's scheduler", PANELS)],
    variables=[common.DATASOURCE, common.SYSTEM, *common.ELSEWHERE],
    annotations=common.ANNOTATIONS,
    since="now-6h",
)
