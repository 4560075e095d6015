"""What must hold for everything that a worker and its client sent, looked at after the stop."""

from __future__ import annotations

from collections import Counter

from support.harness import Harness
from support.otlp.model import LogLine, Span
from support.process import Stopped

OFFICIAL = "opentelemetry.instrumentation.celery"


def audit(harness: Harness, stopped: Stopped) -> None:
    """A warm stop that left nothing, no attempt reported twice, no secret in any telemetry."""
    assert not stopped.killed, f"the worker did not stop by itself\n{harness.explain()}"
    assert stopped.returncode == 0, harness.explain()
    check_no_span_twice(harness)
    check_no_attempt_more_than_expected(harness)
    check_no_secrets(harness)
    check_ours_alone(harness)


def check_no_span_twice(harness: Harness) -> None:
    """A span arrives once."""
    seen = Counter((span.trace_id, span.span_id) for span in harness.receiver.spans())
    assert [ids for ids, count in seen.items() if count > 1] == []


def check_no_attempt_more_than_expected(harness: Harness) -> None:
    """What a late verdict would have added shows up here at the latest."""
    expected = {job_id: count for job_id, count in harness.checked.items() if count}
    seen = {job_id: len(harness.process_spans(job_id)) for job_id in expected}
    assert seen == expected


def check_no_secrets(harness: Harness) -> None:
    """No password of a broker in any span or log record."""
    sent: list[Span | LogLine] = [*harness.receiver.spans(), *harness.receiver.logs()]
    for secret in harness.broker.secrets:
        leaks = [item for item in sent if secret in repr(item)]
        assert leaks == []


def check_ours_alone(harness: Harness) -> None:
    """The official Celery instrumentation is installed as well and says nothing."""
    assert [span for span in harness.receiver.spans() if span.scope == OFFICIAL] == []
