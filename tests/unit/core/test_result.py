"""An attempt that ended, as plain values."""

from __future__ import annotations

import marshal

import pytest
from opentelemetry.trace import SpanContext, TraceFlags

from otel_taskqueue import semconv
from otel_taskqueue.core import result
from otel_taskqueue.core.failure import SUCCESS, Again, Exit, Raised, Verdict
from otel_taskqueue.core.job import Broker, JobView
from otel_taskqueue.semconv import Outcome

JOB = JobView("celery", Broker("redis"), "shop.pay", "job-1", "orders", attempt=3, wait=0.5)
FOUND = result.of_job(JOB, {semconv.FIRST_ENQUEUED_AT: "7"}, 10, 20)


def test_a_result_has_of_the_job_what_metrics_need() -> None:
    """No id, no arguments."""
    assert FOUND == result.Result(
        "celery", "redis", "orders", "shop.pay", attempt=3, start=10, end=20, wait=0.5, first=7
    )


def test_a_message_without_our_headers_has_no_first_time() -> None:
    """Sent by somebody who is not instrumented."""
    assert result.of_job(JOB, {}, 10, 20).first == 0


@pytest.mark.parametrize(
    ("verdict", "outcome", "error", "final"),
    [
        (SUCCESS, "success", None, True),
        (Verdict(Outcome.FAILURE, Raised("ValueError", "no")), "failure", "ValueError", True),
        (Verdict(Outcome.RETRY, again=Again(1.0)), "retry", None, False),
        (Verdict(Outcome.TIMEOUT, Raised("SoftLimit", ""), again=Again()), "timeout", "SoftLimit", False),
        (Verdict(Outcome.LOST, exit=Exit(signal="SIGKILL")), "lost", "SIGKILL", True),
        (Verdict(Outcome.LOST, exit=Exit(code=3), requeued=True), "lost", "exit_code", False),
        (Verdict(Outcome.REJECTED, error=False, requeued=True), "rejected", None, False),
        (Verdict(Outcome.REJECTED, Raised("Reject", "")), "rejected", "Reject", True),
        (Verdict(Outcome.IGNORED), "ignored", None, False),
        (Verdict(Outcome.REVOKED), "revoked", None, True),
        (Verdict(Outcome.EXPIRED), "expired", None, True),
    ],
)
def test_a_verdict_says_outcome_error_and_whether_it_is_the_end(
    verdict: Verdict, outcome: str, error: str | None, *, final: bool
) -> None:
    """One row for each way to end."""
    found = result.judged(FOUND, verdict)
    assert (found.outcome, found.error_type, found.final) == (outcome, error, final)
    assert found._replace(outcome=None, error_type=None, category=None, final=False) == FOUND


def test_only_a_recorded_span_is_named() -> None:
    """An exemplar must lead somewhere."""
    recorded = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))
    assert result.span_of(recorded) == (1, 2, 1)
    assert result.span_of(SpanContext(1, 2, is_remote=False)) is None
    assert result.span_of(None) is None


def test_a_result_crosses_processes() -> None:
    """As a tuple of built-in values."""
    usage = tuple(result.Usage(0.1, 2, 3))
    found = result.judged(FOUND, SUCCESS)._replace(usage=usage, span=(1, 2, 1))
    assert result.Result(*marshal.loads(marshal.dumps(tuple(found)))) == found
