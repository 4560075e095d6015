"""`otel-taskqueue spans`: every span, attribute and event that is emitted, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_taskqueue import semconv
from otel_taskqueue.cli import document
from otel_taskqueue.core.failure import ERRORS
from otel_taskqueue.semconv import Outcome

if TYPE_CHECKING:
    import argparse

_COMMAND = "otel-taskqueue spans"


class Name(NamedTuple):
    """One name that is emitted; ``where``: the spans (or events) that have it."""

    key: str
    type: str
    where: str
    meaning: str


_BOTH = "send, process"
_PROCESS = "process"

ATTRIBUTES = [
    Name(semconv.MESSAGING_SYSTEM, "string", _BOTH, "The broker: `redis`, `rabbitmq`, `aws_sqs` ..."),
    Name(semconv.MESSAGING_OPERATION_NAME, "string", _BOTH, "`send` or `process`."),
    Name(semconv.MESSAGING_OPERATION_TYPE, "string", _BOTH, "`send` or `process`."),
    Name(semconv.MESSAGING_DESTINATION_NAME, "string", _BOTH, "The queue."),
    Name(semconv.MESSAGING_MESSAGE_ID, "string", _BOTH, "The id of the job."),
    Name(semconv.MESSAGING_CONVERSATION_ID, "string", _BOTH, "Celery: the id of the task that began it all."),
    Name(
        semconv.MESSAGING_BATCH_COUNT,
        "int",
        "send of a canvas or `enqueue_many`",
        "How many jobs one call enqueues.",
    ),
    Name(semconv.SERVER_ADDRESS, "string", _BOTH, "The broker's host, never its user or password."),
    Name(semconv.SERVER_PORT, "int", _BOTH, "The broker's port."),
    Name(semconv.SYSTEM, "string", _BOTH, "`celery` or `rq`."),
    Name(semconv.TASK_NAME, "string", _BOTH, "The task: Celery's task name, RQ's function name."),
    Name(semconv.TASK_ETA, "string", _BOTH, "Not to start before this time (RFC 3339)."),
    Name(semconv.GROUP_ID, "string", _BOTH, "The group of the job, where the library has one."),
    Name(
        semconv.TASK_ARGS, "string", _BOTH, "Positional arguments, redacted; only with `capture_arguments`."
    ),
    Name(semconv.TASK_KWARGS, "string", _BOTH, "Keyword arguments, redacted; only with `capture_arguments`."),
    Name(semconv.TASK_ATTEMPT, "int", _PROCESS, "1 for the first run, one more for each retry."),
    Name(semconv.TASK_OUTCOME, "string", _PROCESS, "How the attempt ended, see below."),
    Name(
        semconv.TASK_WAIT, "double (s)", _PROCESS, "From the enqueue call, or the ETA if later, to the start."
    ),
    Name(
        semconv.REDELIVERED,
        "boolean",
        _PROCESS,
        "The broker delivered this message before; absent when it did not.",
    ),
    Name(semconv.WORKER_NAME, "string", _PROCESS, "The worker that ran it."),
    Name(semconv.PROCESS_PID, "int", _PROCESS, "The process that really ran it (the child, the work-horse)."),
    Name(
        semconv.ERROR_TYPE,
        "string",
        _BOTH,
        "The exception's `module.qualname` (builtins bare), else the signal's name or `exit_code`; "
        "the outcome where nothing more is known.",
    ),
    Name(
        semconv.FAILURE_CATEGORY,
        "string",
        _PROCESS,
        "What kind of failure it was: timeout, connection, resource, killed, dependency, data, code, "
        "rate_limit, cancelled or unknown.",
    ),
    Name(semconv.TASK_CPU_TIME, "double (s)", _PROCESS, "Processor time that the attempt used."),
    Name(
        semconv.TASK_MEMORY_PEAK,
        "int (By)",
        _PROCESS,
        "The largest resident memory of its process, up to the end of the attempt.",
    ),
    Name(semconv.EXIT_CODE, "int", _PROCESS, "The exit code of a process that left during the attempt."),
    Name(semconv.EXIT_SIGNAL, "string", _PROCESS, "The signal that killed the process during the attempt."),
    Name(
        semconv.EXIT_OOM,
        "boolean",
        _PROCESS,
        "The kernel's count of out-of-memory kills in this cgroup rose: evidence, not proof.",
    ),
    Name(
        semconv.TELEMETRY_CUT,
        "boolean",
        "any",
        "The span was too large to be handed to the worker's parent as a whole.",
    ),
]

EVENTS = [
    Name(semconv.EVENT_RETRY, "event", _PROCESS, "Another attempt was asked for."),
    Name(semconv.TASK_ATTEMPT, "int", semconv.EVENT_RETRY, "The number of the attempt to come."),
    Name(semconv.RETRY_DELAY, "double (s)", semconv.EVENT_RETRY, "How long it waits."),
    Name(semconv.RETRY_REASON, "string", semconv.EVENT_RETRY, "The exception, or what was said."),
    Name(
        semconv.FAILURE_CATEGORY,
        "string",
        f"{semconv.EVENT_RETRY}, {semconv.EVENT_PROCESS_EXCEPTION}",
        "What kind of failure it was, see failures.md.",
    ),
    Name(
        semconv.EVENT_EXCEPTION, "event", _BOTH, "The exception that ended the attempt or the enqueue call."
    ),
    Name(semconv.EXCEPTION_TYPE, "string", semconv.EVENT_EXCEPTION, "As `error.type`."),
    Name(semconv.EXCEPTION_MESSAGE, "string", semconv.EVENT_EXCEPTION, "Its text."),
    Name(semconv.EXCEPTION_STACKTRACE, "string", semconv.EVENT_EXCEPTION, "Its traceback."),
    Name(
        semconv.EVENT_PROCESS_EXCEPTION,
        "log event",
        _PROCESS,
        "The same as a log record, with `OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN=logs` or `logs/dup`.",
    ),
    Name(semconv.EVENT_SEND_EXCEPTION, "log event", "send", "Likewise for the enqueue call."),
]

CARRIER = [
    Name(
        semconv.TRACEPARENT,
        "W3C",
        "message",
        "With `tracestate` and `baggage`: the global propagator's keys.",
    ),
    Name(semconv.ENQUEUED_AT, "ns", "message", "When it was enqueued (unix time, decimal)."),
    Name(semconv.FIRST_ENQUEUED_AT, "ns", "message", "When the job was enqueued for the first time."),
    Name(semconv.ATTEMPT, "number", "message (RQ)", "The attempt which this message asks for."),
    Name(semconv.PREVIOUS, "traceparent", "message", "The attempt before, for the link."),
    Name(semconv.CARRIER_TASK, "string", "message (RQ)", "The task, for whoever must not load the payload."),
    Name(semconv.CARRIER_ETA, "string", "message (RQ)", "Not to start before this time (RFC 3339)."),
]

_BATCHES = "group, chord, chain, chunks or enqueue_many"
_SPANS = [
    (f"`{semconv.OPERATION_SEND} <task>`", "PRODUCER", "call that enqueues, also by a retry"),
    (
        f"`{semconv.OPERATION_PROCESS} <task>`",
        "CONSUMER",
        "attempt to run the job; INTERNAL when it runs eagerly",
    ),
    (
        f"`{semconv.OPERATION_SEND} <{_BATCHES}>`",
        "CLIENT",
        "call that enqueues several jobs while no span is current",
    ),
]

#: Outcome -> what happened, and what the status says where the outcome alone does not decide it.
OUTCOMES = {
    Outcome.SUCCESS: ("returned", ""),
    Outcome.RETRY: ("an exception, or `retry()`, with attempts left; event `taskqueue.retry`", ""),
    Outcome.FAILURE: (
        "the last exception; a payload or function that cannot be loaded; SystemExit in RQ",
        "UNSET with `error.type` for an expected exception (Celery's `throws`)",
    ),
    Outcome.TIMEOUT: ("a soft time limit not caught, a hard time limit, RQ's timeout", ""),
    Outcome.LOST: ("its process was killed, crashed or left; a cold shutdown", ""),
    Outcome.REVOKED: ("revoked or stopped by request, before or during the run", ""),
    Outcome.EXPIRED: ("too late to start; a span of zero length", ""),
    Outcome.UNKNOWN: ("no such task in this worker", ""),
    Outcome.REJECTED: (
        "`Reject`, or a message that cannot be decoded",
        "UNSET when it goes back to the queue",
    ),
    Outcome.IGNORED: ("`Ignore`", ""),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    document.add_page(parser, _COMMAND, markdown)


def markdown() -> str:
    """The page docs/spans.md."""
    head = ("name", "type", "on", "meaning")
    outcomes = document.markdown_table(("outcome", "what happened", "span status"), _outcome_rows())
    return f"""\
<!-- Made by `{_COMMAND} --markdown`; do not edit. -->
# Spans

Names follow OpenTelemetry's messaging conventions v1.44; what has no convention lives below `taskqueue.`.
All spans have the instrumentation scope `{semconv.SCOPE}`.

{document.markdown_table(("span", "kind", "one for each"), _SPANS)}

An attempt is a child of the span that enqueued the job. All attempts of a job are siblings, each
linked to the one before. With `trace_style=link` an attempt starts a trace of its own, linked to the span
that enqueued it. With `span_naming=queue` the queue stands where the task stands here.

## Attributes

{document.markdown_table(head, _rows(ATTRIBUTES))}

Baggage entries named in `baggage_keys` are on send and process spans under their own names.

## Events

{document.markdown_table(head, _rows(EVENTS))}

An exception is recorded once. An attempt that is retried records none: its reason is in the event.

## Outcomes

{outcomes}

A timeout or a lost attempt that is retried has the event `{semconv.EVENT_RETRY}` as well.

## What travels with a message

In Celery's message headers, and in a copy of RQ's `job.meta` below `{semconv.META_CARRIER}`.

{document.markdown_table(head, _rows(CARRIER))}

RQ's job hash has one more field, `{semconv.JOB_RUN}`: the span of the latest run, to link the next.
"""


def _rows(names: list[Name]) -> list[tuple[str, ...]]:
    return [(f"`{name.key}`", name.type, name.where, name.meaning) for name in names]


def _outcome_rows() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for outcome, (meaning, exception) in OUTCOMES.items():
        status = "ERROR" if outcome in ERRORS else "UNSET"
        rows.append((f"`{outcome.value}`", meaning, f"{status}; {exception}" if exception else status))
    return rows
