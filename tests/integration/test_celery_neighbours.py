"""Beside other instrumentations, other publishers and other protocols."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from otel_taskqueue import semconv
from support.audit import OFFICIAL
from support.celery_harness import CeleryHarness
from support.client import Client, Reply
from support.harness import Options
from support.otlp.tree import draw

StartCelery = Callable[..., CeleryHarness]
OFFICIAL_ONLY = {"OTEL_PYTHON_TASKQUEUE_TAKE_OVER": "false"}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def bare_call(celery: CeleryHarness, operation: str, *args: object, **kwargs: object) -> Reply:
    """Let a client without any instrumentation do it."""
    client = Client(
        "support.apps.celery_client",
        celery.env(celery.client_service),
        celery.directory / "bare-client.log",
        instrumented=False,
    )
    try:
        return client.call(operation, *args, request=None, **kwargs)
    finally:
        client.stop()


def test_a_message_of_the_official_instrumentation_is_continued(start_celery: StartCelery) -> None:
    """Their producer span is the parent of our process span."""
    worker = start_celery(options=Options(client_env=OFFICIAL_ONLY))
    reply = worker.client.call("publish", "ok")
    worker.receiver.wait_for_spans(lambda span: span.kind == "CONSUMER")
    spans = worker.wait_for_whole_trace(reply.trace_id)
    theirs = [span for span in spans if span.scope == OFFICIAL]
    ours = [span for span in spans if span.kind == "CONSUMER"]
    assert [span.kind for span in theirs] == ["PRODUCER"], draw(spans)
    assert [(span.scope, span.parent_id) for span in ours] == [(semconv.SCOPE, theirs[0].span_id)], draw(
        spans
    )


def test_the_official_instrumentation_continues_our_message(start_celery: StartCelery) -> None:
    """Our send span is the parent of their consumer span; ours stays out where it is told to."""
    worker = start_celery(options=Options(env=OFFICIAL_ONLY))
    reply = worker.client.call("publish", "ok")
    worker.receiver.wait_for_spans(lambda span: span.kind == "CONSUMER")
    spans = worker.wait_for_whole_trace(reply.trace_id)
    ours = [span for span in spans if span.kind == "PRODUCER"]
    theirs = [span for span in spans if span.kind == "CONSUMER"]
    assert [span.scope for span in ours] == [semconv.SCOPE], draw(spans)
    assert [(span.scope, span.parent_id) for span in theirs] == [(OFFICIAL, ours[0].span_id)]


def test_ours_takes_over_where_the_application_instruments_by_hand(
    start_celery: StartCelery,
) -> None:
    """Nothing is doubled, and it says so once per process at most."""
    worker = start_celery(options=Options(app="support.apps.celery_both", concurrency=1))
    jobs = [worker.publish("ok") for _ in range(3)]
    for job in jobs:
        worker.wait_for_attempts(job.id, 1)
    worker.stop_worker()
    spans = worker.receiver.spans()
    assert [span for span in spans if span.scope == OFFICIAL] == [], draw(spans)
    assert [len(worker.process_spans(job.id)) for job in jobs] == [1, 1, 1]


@pytest.mark.parametrize("protocol", [1, 2])
def test_both_protocols_of_celery_carry_the_context(celery: CeleryHarness, protocol: int) -> None:
    """Protocol 1 has no headers of its own; the carrier travels all the same."""
    reply = celery.client.call("raw_message", "ok", {"tenant": "acme"}, protocol=protocol)
    run = celery.wait_for_attempts(reply.job_id, 1)[0]
    send = celery.send_spans(reply.job_id)[0]
    assert (run.parent_id, send.parent_id) == (send.span_id, reply.span_id)
    assert run.attributes[semconv.TASK_OUTCOME] == "success"


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "garbage"},
        {"traceparent": "00-" + "f" * 65536},
        {"traceparent": 17},
        {"baggage": "tenant=" + "x" * 65536},
        {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01", "baggage": "k=" + "%" * 65536},
        {"taskqueue-enqueued-at": "yesterday", "taskqueue-previous": "??"},
    ],
    ids=["malformed", "huge", "no text", "huge baggage", "broken baggage", "our own keys"],
)
def test_a_broken_carrier_does_no_damage(celery: CeleryHarness, headers: dict[str, object]) -> None:
    """The task runs, its one span is whole, nothing of the garbage is carried on."""
    reply = bare_call(celery, "raw_message", "ok", headers)
    celery.receiver.wait_for_spans(
        lambda span: span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == reply.job_id
    )
    celery.fence()
    runs = celery.process_spans(reply.job_id)
    assert [run.attributes[semconv.TASK_OUTCOME] for run in runs] == ["success"]
    well_formed = str(headers.get("traceparent", "")).startswith(f"00-{TRACE_ID}")
    assert runs[0].parent_id == ("00f067aa0ba902b7" if well_formed else "")
    assert max(len(str(value)) for value in runs[0].attributes.values()) < 1000
    assert celery.notes(reply.job_id, "ran")[0]["baggage"] == {}


def test_a_message_without_any_carrier_starts_a_trace(celery: CeleryHarness) -> None:
    """A publisher that is not instrumented is no reason to lose the run."""
    reply = bare_call(celery, "publish", "ok")
    runs = celery.receiver.wait_for_spans(
        lambda span: span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == reply.job_id
    )
    assert [(run.kind, run.parent_id) for run in runs] == [("CONSUMER", "")]


def test_suppressed_instrumentation_makes_no_send_span(celery: CeleryHarness) -> None:
    """suppress_instrumentation() is honoured, the job runs."""
    reply = celery.client.call("publish_suppressed")
    celery.wait_for_note(reply.job_id)
    celery.fence()
    assert celery.send_spans(reply.job_id) == []
    assert len(celery.process_spans(reply.job_id)) == 1


def test_a_disabled_sdk_makes_nothing_and_breaks_nothing(start_celery: StartCelery) -> None:
    """OTEL_SDK_DISABLED=true in the worker and the client."""
    off = {"OTEL_SDK_DISABLED": "true"}
    worker = start_celery(options=Options(env=off, client_env=off))
    reply = worker.client.call("publish", "ok", ["value"])
    done = worker.client.call("wait_for_state", reply.job_id, ["SUCCESS"])
    assert done.result == "SUCCESS"
    assert not worker.stop_worker().killed
    worker.stop()
    assert worker.receiver.spans() == []
