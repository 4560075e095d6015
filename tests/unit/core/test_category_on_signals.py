"""Where the category of a failure is told: the span, the retry's event, the exception's log record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_taskqueue import semconv
from otel_taskqueue.core import category, failure, telemetry
from otel_taskqueue.core.failure import Again, Verdict
from otel_taskqueue.core.relay import frames, judge
from otel_taskqueue.core.spans import end_processing
from otel_taskqueue.core.telemetry import Telemetry
from otel_taskqueue.semconv import Outcome
from support.failures import caught

FAILED = Verdict(Outcome.FAILURE, failure.raised(caught(lambda: int("twelve"))))


def written(verdict: Verdict, made: Telemetry | None = None) -> Any:
    """The span on which the verdict was written."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("tests").start_span("process pay")
    job: Any = SimpleNamespace(attempt=1)
    end_processing(made or telemetry.make(), span, job, verdict)
    [ended] = exporter.get_finished_spans()
    return ended


def test_a_retried_attempt_tells_on_its_span_and_on_the_event() -> None:
    """It failed too, although no exception is recorded."""
    again = Again(1.0, "ConnectionError: no", failure.category_of(ConnectionError("no")))

    span = written(Verdict(Outcome.RETRY, again=again))

    assert "connection" == span.attributes[semconv.FAILURE_CATEGORY]
    [event] = span.events
    assert (semconv.EVENT_RETRY, "connection") == (event.name, event.attributes[semconv.FAILURE_CATEGORY])


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [(Verdict(Outcome.TIMEOUT), "timeout"), (Verdict(Outcome.REVOKED), None)],
)
def test_the_parent_s_category_replaces_the_child_s(verdict: Verdict, expected: str | None) -> None:
    """Killed while its failure was on the way: one verdict, no trace of the other."""
    child = written(FAILED)
    attempt: Any = SimpleNamespace(telemetry=telemetry.make(), usage=None)

    packed = judge.rewrite(frames.pack_span(child), verdict, child.end_time, attempt)

    assert "data" == child.attributes[semconv.FAILURE_CATEGORY]
    assert expected == packed[frames.ATTRIBUTES].get(semconv.FAILURE_CATEGORY)


def test_the_log_record_of_an_exception_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where exceptions go to logs, they can be counted by category there."""
    monkeypatch.setenv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "logs")
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))

    written(FAILED, telemetry.make(logger_provider=provider))

    [record] = exporter.get_finished_logs()
    assert "data" == (record.log_record.attributes or {})[semconv.FAILURE_CATEGORY]


def test_the_rules_of_instrument_are_in_force_until_uninstrument() -> None:
    """Both instrumentors hand theirs on, and take them back."""
    from otel_taskqueue.celery import CeleryInstrumentor
    from otel_taskqueue.rq import RQInstrumentor

    for instrumentor in (CeleryInstrumentor(), RQInstrumentor()):
        instrumentor.instrument(failure_rules={KeyError: "dependency"})
        during = category.of(KeyError())
        instrumentor.uninstrument()

        assert ("dependency", "data") == (during.value, category.of(KeyError()).value)
