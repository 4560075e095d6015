"""Every metric that we emit: name, kind, unit and meaning, in one table.

Names of the messaging semantic conventions (v1.44) where there is one, else below ``taskqueue.``.
``docs/metrics.md`` is made from this table.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from opentelemetry.semconv._incubating.metrics import messaging_metrics as _messaging

from otel_taskqueue import semconv

Kind = Literal["counter", "updowncounter", "histogram", "gauge"]

#: Bucket boundaries (s) of runs, waits and the time over all attempts; of attempts; of memory (By).
RUN: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
WAIT: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 7200)
TOTAL: Final = (*WAIT, 86400)
ATTEMPTS: Final = (1, 2, 3, 5, 8, 13)
MEMORY: Final = tuple(float(2**power) for power in range(20, 36))


#: Attributes of points: of a job, of a worker, of a queue.
JOB: Final = (
    semconv.MESSAGING_SYSTEM,
    semconv.SYSTEM,
    semconv.MESSAGING_DESTINATION_NAME,
    semconv.TASK_NAME,
)
_MESSAGE: Final = (*JOB, semconv.MESSAGING_OPERATION_NAME)
_WORKER: Final = (semconv.SYSTEM, semconv.WORKER_NAME)
_QUEUE: Final = (semconv.MESSAGING_SYSTEM, semconv.SYSTEM, semconv.MESSAGING_DESTINATION_NAME)
_SCHEDULE: Final = (semconv.SYSTEM, semconv.SCHEDULE_NAME)


class Metric(NamedTuple):
    """One row of the table; ``unit`` in UCUM, ``buckets`` are explicit boundaries of a histogram.

    ``attributes`` are all that its points can have; each has a bounded number of values.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    buckets: tuple[float, ...] = ()
    attributes: tuple[str, ...] = JOB


# --- the producer ----------------------------------------------------------------------------------
SENT: Final = Metric(
    _messaging.MESSAGING_CLIENT_SENT_MESSAGES,
    "counter",
    "{message}",
    "Messages that producers sent.",
    attributes=(*_MESSAGE, semconv.ERROR_TYPE),
)
SEND_DURATION: Final = Metric(
    _messaging.MESSAGING_CLIENT_OPERATION_DURATION,
    "histogram",
    "s",
    "How long it took to hand a message to the broker.",
    RUN,
    attributes=(*_MESSAGE, semconv.MESSAGING_OPERATION_TYPE, semconv.ERROR_TYPE),
)

# --- the worker's parent: each attempt --------------------------------------------------------------
CONSUMED: Final = Metric(
    _messaging.MESSAGING_CLIENT_CONSUMED_MESSAGES,
    "counter",
    "{message}",
    "Messages that the worker took, once per delivery.",
    attributes=_MESSAGE,
)
PROCESS_DURATION: Final = Metric(
    _messaging.MESSAGING_PROCESS_DURATION,
    "histogram",
    "s",
    "How long an attempt ran: the duration of its span. Attempts that never started are not in it.",
    RUN,
    attributes=(*_MESSAGE, semconv.TASK_OUTCOME, semconv.ERROR_TYPE),
)
RUNS: Final = Metric(
    "taskqueue.task.runs",
    "counter",
    "{run}",
    "Attempts that ended, by outcome.",
    attributes=(*JOB, semconv.TASK_OUTCOME, semconv.ERROR_TYPE, semconv.FAILURE_CATEGORY),
)
WAIT_DURATION: Final = Metric(
    "taskqueue.task.wait.duration",
    "histogram",
    "s",
    "How long a job was ready and waited, free of a delay that was asked for.",
    WAIT,
)
TOTAL_DURATION: Final = Metric(
    "taskqueue.task.total.duration",
    "histogram",
    "s",
    "From the first enqueueing of a job to its final outcome, over all attempts.",
    TOTAL,
    attributes=(*JOB, semconv.TASK_OUTCOME),
)
TASK_ATTEMPTS: Final = Metric(
    "taskqueue.task.attempts", "histogram", "{attempt}", "Attempts a job took to its final outcome.", ATTEMPTS
)
ACTIVE: Final = Metric("taskqueue.task.active", "updowncounter", "{task}", "Attempts that run now.")
ACTIVE_MAX_AGE: Final = Metric(
    "taskqueue.task.active.max_age",
    "gauge",
    "s",
    "How long the oldest attempt that runs now has been running.",
    attributes=(semconv.SYSTEM, semconv.TASK_NAME),
)
CPU_TIME: Final = Metric(
    "taskqueue.task.cpu.time", "histogram", "s", "Processor time that an attempt used.", RUN
)
MEMORY_PEAK: Final = Metric(
    "taskqueue.task.memory.peak",
    "histogram",
    "By",
    "Largest resident memory of the process that ran the attempt, up to its end.",
    MEMORY,
)
MEMORY_GROWTH: Final = Metric(
    "taskqueue.task.memory.growth",
    "histogram",
    "By",
    "By how much resident memory grew during the attempt; 0 where it shrank.",
    (0, *MEMORY),
)
DUPLICATES: Final = Metric(
    "taskqueue.duplicates", "counter", "{run}", "Redelivered jobs that this worker had finished before."
)

# --- the worker itself -----------------------------------------------------------
WORKER_UP: Final = Metric(
    "taskqueue.worker.up",
    "gauge",
    "{worker}",
    "1 while the worker runs, 0 at a clean stop, absent after a crash.",
    attributes=_WORKER,
)
WORKER_SLOTS: Final = Metric(
    "taskqueue.worker.slots", "gauge", "{slot}", "Jobs that the worker can run at once.", attributes=_WORKER
)
WORKER_SLOTS_USED: Final = Metric(
    "taskqueue.worker.slots.used", "gauge", "{slot}", "Slots that run a job now.", attributes=_WORKER
)
WORKER_PREFETCHED: Final = Metric(
    "taskqueue.worker.prefetched",
    "gauge",
    "{message}",
    "Messages that the worker holds and has not started.",
    attributes=_WORKER,
)
WORKER_EXITS: Final = Metric(
    "taskqueue.worker.process.exits",
    "counter",
    "{process}",
    "Child processes that ended, by reason.",
    attributes=(*_WORKER, semconv.EXIT_REASON),
)

# --- the observer --------------------------------------------------------------
QUEUE_SIZE: Final = Metric(
    "taskqueue.queue.size",
    "gauge",
    "{message}",
    "Jobs in a queue, by state.",
    attributes=(*_QUEUE, semconv.QUEUE_STATE),
)
QUEUE_OLDEST_AGE: Final = Metric(
    "taskqueue.queue.oldest_age",
    "gauge",
    "s",
    "How long the oldest job that is ready has been waiting.",
    attributes=_QUEUE,
)
QUEUE_WORKERS: Final = Metric(
    "taskqueue.queue.workers", "gauge", "{worker}", "Workers that consume a queue.", attributes=_QUEUE
)
HEARTBEAT_AGE: Final = Metric(
    "taskqueue.worker.heartbeat.age",
    "gauge",
    "s",
    "How long ago a worker gave its last sign of life.",
    attributes=_WORKER,
)
SCHEDULE_LAST_RUN: Final = Metric(
    "taskqueue.schedule.last_run",
    "gauge",
    "s",
    "When a schedule last enqueued its job (unix time).",
    attributes=_SCHEDULE,
)
SCHEDULE_LAG: Final = Metric(
    "taskqueue.schedule.lag",
    "histogram",
    "s",
    "How late a schedule enqueued its job.",
    WAIT,
    attributes=_SCHEDULE,
)
SCHEDULE_MISSED: Final = Metric(
    "taskqueue.schedule.missed",
    "counter",
    "{run}",
    "Runs of a schedule that were due and did not come.",
    attributes=_SCHEDULE,
)

# --- every process -------------------------------------------------------------
DROPPED: Final = Metric(
    "taskqueue.telemetry.dropped",
    "counter",
    "{item}",
    "Spans, log records and measurements that were dropped, by signal.",
    attributes=(semconv.TELEMETRY_SIGNAL,),
)

TABLE: Final[tuple[Metric, ...]] = tuple(
    found for found in list(globals().values()) if isinstance(found, Metric)
)
