"""Every name that leaves the process: spans, attributes, events and carrier keys.

Names of the messaging semantic conventions (v1.44) are re-exported from
``opentelemetry.semconv``; everything without a convention lives below ``taskqueue.``.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from opentelemetry.semconv._incubating.attributes import messaging_attributes as _messaging
from opentelemetry.semconv.attributes import error_attributes as _error
from opentelemetry.semconv.attributes import exception_attributes as _exception
from opentelemetry.semconv.attributes import server_attributes as _server

SCOPE: Final = "otel_taskqueue"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# --- span names: "<operation> <task>" ------------------------------------------------------
OPERATION_SEND: Final = "send"
OPERATION_PROCESS: Final = "process"
OPERATION_TYPE_SEND: Final = "send"
OPERATION_TYPE_PROCESS: Final = "process"

# --- attributes of the messaging conventions --------------------------------------------------
MESSAGING_SYSTEM: Final = _messaging.MESSAGING_SYSTEM
MESSAGING_OPERATION_NAME: Final = _messaging.MESSAGING_OPERATION_NAME
MESSAGING_OPERATION_TYPE: Final = _messaging.MESSAGING_OPERATION_TYPE
MESSAGING_DESTINATION_NAME: Final = _messaging.MESSAGING_DESTINATION_NAME
MESSAGING_MESSAGE_ID: Final = _messaging.MESSAGING_MESSAGE_ID
MESSAGING_CONVERSATION_ID: Final = _messaging.MESSAGING_MESSAGE_CONVERSATION_ID
MESSAGING_BATCH_COUNT: Final = _messaging.MESSAGING_BATCH_MESSAGE_COUNT
SERVER_ADDRESS: Final = _server.SERVER_ADDRESS
SERVER_PORT: Final = _server.SERVER_PORT
ERROR_TYPE: Final = _error.ERROR_TYPE
PROCESS_PID: Final = "process.pid"

# --- attributes of our own ---------------------------------------------------------------------
SYSTEM: Final = "taskqueue.system"
TASK_NAME: Final = "taskqueue.task.name"
TASK_ETA: Final = "taskqueue.task.eta"
TASK_ATTEMPT: Final = "taskqueue.task.attempt"
TASK_OUTCOME: Final = "taskqueue.task.outcome"
TASK_WAIT: Final = "taskqueue.task.wait.duration"
TASK_ARGS: Final = "taskqueue.task.args"
TASK_KWARGS: Final = "taskqueue.task.kwargs"
GROUP_ID: Final = "taskqueue.group.id"
REDELIVERED: Final = "taskqueue.redelivered"
WORKER_NAME: Final = "taskqueue.worker.name"
EXIT_CODE: Final = "taskqueue.exit.code"
EXIT_SIGNAL: Final = "taskqueue.exit.signal"
EXIT_OOM: Final = "taskqueue.exit.oom"
FAILURE_CATEGORY: Final = "taskqueue.failure.category"
TASK_CPU_TIME: Final = "taskqueue.task.cpu.time"
TASK_MEMORY_PEAK: Final = "taskqueue.task.memory.peak"
QUEUE_STATE: Final = "taskqueue.queue.state"
EXIT_REASON: Final = "taskqueue.exit.reason"
SCHEDULE_NAME: Final = "taskqueue.schedule.name"
TELEMETRY_CUT: Final = "taskqueue.telemetry.cut"
TELEMETRY_SIGNAL: Final = "taskqueue.telemetry.signal"

# --- events ----------------------------------------------------------------------------------------
EVENT_RETRY: Final = "taskqueue.retry"
RETRY_DELAY: Final = "taskqueue.retry.delay"
RETRY_REASON: Final = "taskqueue.retry.reason"
EVENT_EXCEPTION: Final = "exception"
EVENT_PROCESS_EXCEPTION: Final = "messaging.process.exception"
EVENT_SEND_EXCEPTION: Final = "messaging.send.exception"
EXCEPTION_TYPE: Final = _exception.EXCEPTION_TYPE
EXCEPTION_MESSAGE: Final = _exception.EXCEPTION_MESSAGE
EXCEPTION_STACKTRACE: Final = _exception.EXCEPTION_STACKTRACE

# --- the carrier, beside the keys of the configured propagator -----------------------------------
ENQUEUED_AT: Final = "taskqueue-enqueued-at"
FIRST_ENQUEUED_AT: Final = "taskqueue-first-enqueued-at"
ATTEMPT: Final = "taskqueue-attempt"
PREVIOUS: Final = "taskqueue-previous"
TRACEPARENT: Final = "traceparent"
#: Key of the carrier in a copy of ``rq.job.Job.meta``.
META_CARRIER: Final = "_otel"
#: Keys which RQ's room keeps beside the carrier: what a worker's parent must not deserialise a payload for.
CARRIER_TASK: Final = "taskqueue-task"
CARRIER_ETA: Final = "taskqueue-eta"
#: Field of an RQ job's hash: ``<traceparent of its latest run>@<taskqueue-enqueued-at of what that ran>``.
JOB_RUN: Final = "_otel_run"
#: What stands for the traceparent when the worker has reported an attempt that RQ still takes for running.
JOB_RUN_REPORTED: Final = "reported"
#: Key of the per-job trace style in ``rq.job.Job.meta``.
META_TRACE_STYLE: Final = "_otel_trace_style"
#: Attribute of a Celery task class with its trace style.
TASK_TRACE_STYLE: Final = "otel_trace_style"
#: Key which the worker's parent adds to the pool's request and the child takes out again.
SERIAL: Final = "_otel_taskqueue_serial"
#: Header by which an eager attempt of Celery hands its place in the trace to its retry.
EAGER: Final = "_otel_taskqueue_eager"

# --- values ----------------------------------------------------------------------------------------
CELERY: Final = "celery"
RQ: Final = "rq"
EXIT_CODE_ERROR: Final = "exit_code"


class Outcome(str, Enum):
    """How one attempt ended; the value of ``taskqueue.task.outcome``."""

    SUCCESS = "success"
    FAILURE = "failure"
    RETRY = "retry"
    TIMEOUT = "timeout"
    LOST = "lost"
    REVOKED = "revoked"
    EXPIRED = "expired"
    REJECTED = "rejected"
    IGNORED = "ignored"
    UNKNOWN = "unknown"


class Category(str, Enum):
    """What kind of failure it was; the value of ``taskqueue.failure.category``."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    RESOURCE = "resource"
    KILLED = "killed"
    DEPENDENCY = "dependency"
    DATA = "data"
    CODE = "code"
    RATE_LIMIT = "rate_limit"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
