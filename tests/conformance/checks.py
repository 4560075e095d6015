"""What a scenario must have left behind: one comparison per attempt, whole and exact."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from conformance.scenarios import Attempt, Scenario
from otel_taskqueue import semconv
from support.harness import Harness, Job
from support.otlp import Span
from support.otlp.tree import assert_no_dangling_parents

# The workers of RQ's pool name themselves.
OWN_NAMES = {"worker-pool": "[0-9a-f]{32}"}
CLOCKS = 0.15  # seconds; the enqueue time is taken inside the send span, an ETA is rounded


def check(harness: Harness, scenario: Scenario, job: Job) -> None:
    """Everything that is promised about the attempts of one job."""
    expected = [_expected(harness, scenario, number) for number in range(len(scenario.attempts))]
    spans = harness.wait_for_attempts(job.id, len(expected))
    harness.wait_for_whole_trace(job.reply.trace_id)
    harness.fence()
    spans = harness.process_spans(job.id)
    explanation = f"\n{scenario.name}\n{harness.explain(job.id)}"
    outcomes = [span.attributes.get(semconv.TASK_OUTCOME) for span in spans]
    assert outcomes == [attempt.outcome for attempt in scenario.attempts], explanation
    seen = [_seen(harness, scenario, job, spans, number) for number in range(len(spans))]
    assert seen == expected, explanation
    check_sends(harness, scenario, job, spans, explanation)
    assert_no_dangling_parents(harness.receiver.trace(job.reply.trace_id))
    sends = iter(harness.send_spans(job.id))
    sent = next(sends)
    for number, (span, attempt) in enumerate(zip(spans, scenario.attempts, strict=True)):
        if number and scenario.attempts[number - 1].retried is not None:
            sent = next(sends)
        check_times(span, attempt, sent, delays(harness, scenario)[number], job, explanation)


def _expected(harness: Harness, scenario: Scenario, index: int) -> dict[str, Any]:
    attempt = scenario.attempts[index]
    call = scenario.calls[harness.room]
    return {
        "name": f"process {harness.task_name(call.case)}",
        "kind": "CONSUMER",
        "scope": semconv.SCOPE,
        "service": harness.worker_service,
        "status": attempt.status,
        "error.type": attempt.error_type_in(harness.room),
        semconv.FAILURE_CATEGORY: attempt.kind_of_failure,
        "exceptions": attempt.recorded if _has_exception(harness, attempt) else 0,
        "retry": _expected_retry(harness, attempt),
        "exit": attempt.exit,
        "parent": "the send span",
        "links": [] if index == 0 else ["the attempt before"],
        "seen inside the job": attempt.ran,
        semconv.PROCESS_PID: _expected_pid(harness, attempt),
        semconv.MESSAGING_SYSTEM: harness.broker.system,
        semconv.MESSAGING_OPERATION_NAME: "process",
        semconv.MESSAGING_OPERATION_TYPE: "process",
        semconv.MESSAGING_DESTINATION_NAME: harness.queue,
        semconv.SYSTEM: harness.room,
        semconv.TASK_NAME: harness.task_name(call.case),
        semconv.TASK_ATTEMPT: attempt.number,
        semconv.WORKER_NAME: OWN_NAMES.get(harness.pool, harness.worker_name),
        semconv.SERVER_ADDRESS: harness.broker.host,
        semconv.SERVER_PORT: harness.broker.port,
        semconv.REDELIVERED: attempt.redelivered or None,
    }


def _expected_pid(harness: Harness, attempt: Attempt) -> str:
    if attempt.ran:
        return "the process that ran it"
    # RQ finds out in the work-horse that there is nothing to run.
    return "a child" if harness.room == "rq" else "the worker"


def _has_exception(harness: Harness, attempt: Attempt) -> bool:
    """RQ reports a killed work-horse by its wait status, not by an exception."""
    return not (harness.room == "rq" and attempt.outcome == "lost")


def _expected_retry(harness: Harness, attempt: Attempt) -> dict[str, Any] | None:
    delay = attempt.delay_in(harness.room)
    if delay is None:
        return None
    return {"attempt": attempt.number + 1, "delay": delay, "category": attempt.kind_of_failure}


def _seen(
    harness: Harness, scenario: Scenario, job: Job, spans: Sequence[Span], index: int
) -> dict[str, Any]:
    span = spans[index]
    attributes = span.attributes
    ran = harness.notes(job.id, "ran")
    note = ran[index] if scenario.attempts[index].ran and index < len(ran) else None
    return {
        "name": span.name,
        "kind": span.kind,
        "scope": span.scope,
        "service": span.service,
        "status": span.status,
        "error.type": _one_of(
            scenario.attempts[index].error_type_in(harness.room), attributes.get(semconv.ERROR_TYPE)
        ),
        semconv.FAILURE_CATEGORY: _one_of(
            scenario.attempts[index].kind_of_failure, attributes.get(semconv.FAILURE_CATEGORY)
        ),
        "exceptions": len(span.named_events(semconv.EVENT_EXCEPTION)),
        "retry": _seen_retry(span),
        "exit": attributes.get(semconv.EXIT_SIGNAL, attributes.get(semconv.EXIT_CODE))
        if scenario.attempts[index].exit is not None
        else None,
        "parent": _parent(harness, job, span),
        "links": [_link(spans, link.span_id, index) for link in span.links],
        "seen inside the job": note is not None and note["span_id"] == span.span_id,
        semconv.PROCESS_PID: _whose_pid(harness, note, attributes),
        **{key: attributes.get(key) for key in COMPARED},
        semconv.WORKER_NAME: _one_of(OWN_NAMES.get(harness.pool), attributes.get(semconv.WORKER_NAME)),
    }


COMPARED = (
    semconv.MESSAGING_SYSTEM,
    semconv.MESSAGING_OPERATION_NAME,
    semconv.MESSAGING_OPERATION_TYPE,
    semconv.MESSAGING_DESTINATION_NAME,
    semconv.SYSTEM,
    semconv.TASK_NAME,
    semconv.TASK_ATTEMPT,
    semconv.SERVER_ADDRESS,
    semconv.SERVER_PORT,
    semconv.REDELIVERED,
)


def _one_of(expected: str | None, seen: str | None) -> str | None:
    """What was seen; where one of several is right, the expectation when it matches."""
    return expected if expected and seen and re.fullmatch(expected, seen) else seen


def _seen_retry(span: Span) -> dict[str, Any] | None:
    events = span.named_events(semconv.EVENT_RETRY)
    if not events:
        return None
    assert len(events) == 1, span
    attributes = events[0].attributes
    delay = attributes.get(semconv.RETRY_DELAY)
    assert isinstance(delay, float), span  # an OTLP double, whatever number the library has
    return {
        "attempt": attributes.get(semconv.TASK_ATTEMPT),
        "delay": round(delay, 1),
        "category": attributes.get(semconv.FAILURE_CATEGORY),
    }


def _parent(harness: Harness, job: Job, span: Span) -> str:
    first = harness.send_spans(job.id)[0]
    is_right = span.parent_id == first.span_id and span.trace_id == job.reply.trace_id
    return "the send span" if is_right else span.parent_id


def _link(spans: Sequence[Span], span_id: str, index: int) -> str:
    return "the attempt before" if index and span_id == spans[index - 1].span_id else span_id


def _whose_pid(harness: Harness, note: Mapping[str, Any] | None, attributes: Any) -> object:
    pid = attributes.get(semconv.PROCESS_PID)
    if note is not None and pid == note["pid"]:
        return "the process that ran it"
    assert harness.worker is not None
    if pid == harness.worker.pid:
        return "the worker"
    return "a child" if note is None and isinstance(pid, int) else pid


def check_sends(
    harness: Harness, scenario: Scenario, job: Job, spans: Sequence[Span], explanation: str
) -> None:
    """One send span below the request, and one below each attempt that asked for another."""
    sends = harness.send_spans(job.id)
    asked = [
        span.span_id
        for span, attempt in zip(spans, scenario.attempts, strict=True)
        if attempt.retried is not None
    ]
    parents = [send.parent_id for send in sends]
    assert parents == [job.reply.span_id, *asked], explanation
    name = f"send {harness.task_name(scenario.calls[harness.room].case)}"
    first = {
        "name": name,
        "status": "UNSET",
        semconv.MESSAGING_SYSTEM: harness.broker.system,
        semconv.MESSAGING_OPERATION_NAME: "send",
        semconv.MESSAGING_OPERATION_TYPE: "send",
        semconv.MESSAGING_DESTINATION_NAME: harness.queue,
        semconv.SYSTEM: harness.room,
        semconv.SERVER_ADDRESS: harness.broker.host,
        semconv.SERVER_PORT: harness.broker.port,
    }
    for send in sends:
        seen = {"name": send.name, "status": send.status}
        seen |= {key: send.attributes.get(key) for key in first if key not in seen}
        assert seen == first, explanation


def check_times(span: Span, attempt: Attempt, sent: Span, delay: float, job: Job, explanation: str) -> None:
    """Start and end are in order; the queue wait is the time since the send, free of the delay.

    Measured against the spans themselves, so that a busy machine changes nothing. RQ's scheduler
    keeps whole seconds: a job may start up to one before the delay has passed.
    """
    assert job.reply.started <= span.start <= span.end, explanation
    if attempt.outcome == "expired":
        assert span.start == span.end, explanation
    if not attempt.ran:
        return
    wait = span.attributes.get(semconv.TASK_WAIT)
    assert wait is not None, explanation
    due = sent.start / 1e9 + delay
    if delay and span.attributes[semconv.SYSTEM] == "rq":
        due = math.floor(due)
    longest = max(0.0, span.start / 1e9 - due)
    shortest = 0.0 if delay else (span.start - sent.end) / 1e9
    assert max(0.0, shortest - CLOCKS) <= wait <= longest + CLOCKS, explanation


def delays(harness: Harness, scenario: Scenario) -> list[float]:
    """Seconds that each attempt was told to wait for, before it."""
    options = scenario.calls[harness.room].options
    first = options.get("countdown", options.get("delay", 0.0))
    events = [_expected_retry(harness, attempt) for attempt in scenario.attempts[:-1]]
    return [first, *(event["delay"] if event else 0.0 for event in events)]
