"""`otel-taskqueue metrics`: every metric that is emitted, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_taskqueue import meters, semconv
from otel_taskqueue.cli import document
from otel_taskqueue.core import metrics

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from otel_taskqueue.meters import Metric

_COMMAND = "otel-taskqueue metrics"
_HEAD = ("name", "kind, unit", "meaning", "attributes")

PRODUCER = (meters.SENT, meters.SEND_DURATION)
ATTEMPTS = (
    meters.RUNS,
    meters.CONSUMED,
    meters.PROCESS_DURATION,
    meters.WAIT_DURATION,
    meters.TOTAL_DURATION,
    meters.TASK_ATTEMPTS,
    meters.ACTIVE,
    meters.ACTIVE_MAX_AGE,
    meters.CPU_TIME,
    meters.MEMORY_PEAK,
    meters.MEMORY_GROWTH,
    meters.DUPLICATES,
)
WORKER = (
    meters.WORKER_UP,
    meters.WORKER_SLOTS,
    meters.WORKER_SLOTS_USED,
    meters.WORKER_PREFETCHED,
    meters.WORKER_EXITS,
)
OBSERVER = (
    meters.QUEUE_SIZE,
    meters.QUEUE_OLDEST_AGE,
    meters.QUEUE_WORKERS,
    meters.HEARTBEAT_AGE,
    meters.SCHEDULE_LAST_RUN,
    meters.SCHEDULE_LAG,
    meters.SCHEDULE_MISSED,
)
EVERYWHERE = (meters.DROPPED,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    document.add_page(parser, _COMMAND, markdown)


def markdown() -> str:
    """The page docs/metrics.md."""
    return f"""\
<!-- Made by `{_COMMAND} --markdown`; do not edit. -->
# Metrics

Names follow OpenTelemetry's messaging conventions v1.44; what has no convention lives below `taskqueue.`.
All instruments have the instrumentation scope `{semconv.SCOPE}`. No point has an id, a pid or a host as
attribute. A metric holds at most {metrics.MOST_QUEUES} queues, {metrics.MOST_TASKS} tasks and \
{metrics.MOST_ERRORS} values of `{semconv.ERROR_TYPE}` per process; the rest is `_OTHER`.
Names in messages that never became a job (not known to the worker, not to be decoded) take no place from
a task: of those there are at most {metrics.MOST_STRANGERS}.

Everything about attempts is recorded in the worker's long-lived parent, once for each attempt: also for those
which were killed, revoked or expired. So a worker has one set of series, however many children or
work-horses it forks. With the pools that run jobs in the worker itself, parent and child are one.

The job's attributes are {", ".join(f"`{name}`" for name in meters.JOB)}.

## Where jobs are enqueued

{_table(PRODUCER)}

## Attempts

{_table(ATTEMPTS)}

Histograms point to traces by exemplars: the span of the attempt, where it was sampled.
CPU time and memory are those of the work-horse as the kernel counted them (RQ), also of one that was killed;
of the thread and of the child (Celery, prefork and solo; only the CPU time with threads), not of one that
was killed. Greenlets share a thread: with gevent and eventlet there is neither.

## The worker

{_table(WORKER)}

A stop by request exports `{meters.WORKER_UP.name}` 0 as its last word; after a crash the series just ends.
So a lost worker can be told from a smaller deployment.
`{semconv.EXIT_REASON}`: `ok`, `exit_code`, `recycled` (Celery's limits of tasks or memory per child),
`time_limit`, `oom` (the cgroup's count of kills rose), else the signal: `SIGKILL`, `SIGSEGV`, `SIGTERM` ...

## The observer

{_table(OBSERVER)}

Reported by `otel-taskqueue observe`; `{semconv.QUEUE_STATE}` is ready, reserved, scheduled, deferred or
failed.

## Telemetry

{_table(EVERYWHERE)}

## Boundaries of the histograms

{document.markdown_table(("name", "boundaries"), _boundaries())}
"""


def _table(rows: Sequence[Metric]) -> str:
    return document.markdown_table(_HEAD, [_row(metric) for metric in rows])


def _row(metric: Metric) -> tuple[str, ...]:
    own = [name for name in metric.attributes if name not in meters.JOB]
    attributes = ["the job's"] if set(meters.JOB) <= set(metric.attributes) else []
    if not attributes:
        own = list(metric.attributes)
    attributes += [f"`{name}`" for name in own]
    return (f"`{metric.name}`", f"{metric.kind}, `{metric.unit}`", metric.meaning, ", ".join(attributes))


def _boundaries() -> list[tuple[str, str]]:
    found = [metric for metric in meters.TABLE if metric.buckets]
    return [(f"`{metric.name}`", " ".join(f"{bound:g}" for bound in metric.buckets)) for metric in found]
