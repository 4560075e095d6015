"""The four log panels, on Loki. docs/log-panels.md has them for Kibana, too."""

from __future__ import annotations

from typing import Final

from monitoring.grafana import links
from monitoring.grafana.boards import common
from monitoring.grafana.model import Dashboard, Panel, Query, Row, Variable

#: Lines of jobs from ERROR on; RQ puts the exception into the text, so there is no field of both to ask for.
ERRORS: Final = (
    f'{links.LINES} | taskqueue_task_name=~"$task" | taskqueue_task_name!="" | severity_number >= 17'
)
#: What Celery and RQ print when a job has succeeded; RQ as hours:minutes:seconds.
CELERY_TOOK: Final = r"succeeded in (?P<took>[0-9.]+s)"
RQ_TOOK: Final = r" in (?P<hours>[0-9]+):(?P<minutes>[0-9]+):(?P<seconds>[0-9.]+)s on worker"

PANELS: Final = (
    Panel(
        "Error rate",
        [
            Query(
                f"sum by (taskqueue_task_name) (rate({ERRORS} [$__auto]))",
                "{{taskqueue_task_name}}",
            )
        ],
        source="loki",
        text="Lines from ERROR on that jobs wrote, per second: a failed attempt writes at least one.",
        unit="ops",
        custom=common.STACKED,
        links=[
            *links.of_failures(),
        ],
    ),
    Panel(
        "Slow jobs",
        [
            Query(f'{links.LINES} |= "succeeded in" | regexp `{CELERY_TOOK}` | took > $slow'),
            Query(
                f'{links.LINES} |= "Successfully completed" | regexp `{RQ_TOOK}`'
                ' | label_format took="{{.hours}}h{{.minutes}}m{{.seconds}}s" | took > $slow'
            ),
        ],
        kind="logs",
        source="loki",
        text="Successes that took longer than `slow` (500ms, 5s, 2m), as Celery and RQ print them.",
    ),
    Panel(
        "Lines of one job",
        [Query(f'{links.LINES} | messaging_message_id="$job"')],
        kind="logs",
        source="loki",
        text="All attempts, on all workers, with what the producer said: paste the job's id above.",
        options={"sortOrder": "Ascending"},
    ),
    Panel(
        "Last lines of a worker",
        [Query(f'{links.LINES} | taskqueue_worker_name=~"$worker"')],
        kind="logs",
        source="loki",
        text="What was said last in and about its jobs, before it fell silent.",
    ),
)

BOARD: Final = Dashboard(
    uid="taskqueue-logs",
    title="Task queues: log lines",
    text="Failures, slow jobs, the lines of one job, the last lines of a worker.",
    rows=[Row("Log lines (Loki)", PANELS)],
    variables=[
        common.DATASOURCE,
        common.SYSTEM,
        common.QUEUE,
        common.TASK,
        common.WORKER,
        Variable("job", "Job id", "", "textbox"),
        Variable("slow", "Slower than", "5s", "textbox"),
        *common.ELSEWHERE,
    ],
)
