"""Every way to enqueue a Celery task: one send span, the right parent, one trace."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from otel_taskqueue import semconv
from support.celery_harness import CeleryHarness
from support.harness import Harness
from support.otlp import Span
from support.otlp.tree import assert_no_dangling_parents, draw
from support.servers import free_port

pytestmark = pytest.mark.xdist_group("celery-publish")
APP = "support.apps.celery_app"


def trace_of(harness: Harness, trace_id: str, jobs: Sequence[str]) -> list[Span]:
    """The spans of a trace once every one of ``jobs`` has run."""
    for job in jobs:
        harness.wait_for_attempts(job, 1)
    return harness.wait_for_whole_trace(trace_id)


def one(spans: Sequence[Span], kind: str, job_id: str) -> Span:
    """The only span of a kind about a job."""
    found = [
        span
        for span in spans
        if span.kind == kind and span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == job_id
    ]
    assert len(found) == 1, f"{kind} of {job_id}\n{draw(spans)}"
    return found[0]


def parents(spans: Sequence[Span], job_id: str) -> tuple[str, str]:
    """What the send span and the process span of a job hang below."""
    send, process = one(spans, "PRODUCER", job_id), one(spans, "CONSUMER", job_id)
    assert process.parent_id == send.span_id, draw(spans)
    return send.parent_id, send.span_id


@pytest.mark.parametrize("how", ["delay", "apply_async", "signature", "send_task"])
def test_each_call_makes_one_send_span_below_the_caller(celery: CeleryHarness, how: str) -> None:
    """delay, apply_async, Signature.apply_async and send_task look alike."""
    case = f"{APP}.ok" if how == "send_task" else "ok"
    job = celery.publish(case, "value", how=how)
    spans = trace_of(celery, job.reply.trace_id, [job.id])
    assert parents(spans, job.id)[0] == job.reply.span_id
    assert len(spans) == 3, draw(spans)
    assert job.reply.context_is_clean


def test_a_task_that_is_not_registered_in_the_client_is_sent_by_name(celery: CeleryHarness) -> None:
    """send_task needs the name only."""
    job = celery.publish("support.apps.worker_only", "value", how="send_task")
    spans = trace_of(celery, job.reply.trace_id, [job.id])
    assert one(spans, "PRODUCER", job.id).name == "send support.apps.worker_only"
    assert one(spans, "CONSUMER", job.id).name == "process support.apps.worker_only"


def test_without_a_current_span_the_send_span_is_the_root(celery: CeleryHarness) -> None:
    """A script's enqueue starts a trace."""
    job = celery.publish("ok", request=None)
    celery.wait_for_attempts(job.id, 1)
    send = celery.send_spans(job.id)[0]
    assert send.parent_id == ""
    assert len(celery.wait_for_whole_trace(send.trace_id)) == 2


def test_a_chain_is_one_trace_each_link_below_the_run_before(celery: CeleryHarness) -> None:
    """The next task is sent by the run of the one before."""
    reply = celery.client.call("run_chain", ["ok", "add", "add"])
    first, second, third = reply.result
    spans = trace_of(celery, reply.trace_id, reply.result)
    assert parents(spans, first)[0] == reply.span_id
    assert parents(spans, second)[0] == one(spans, "CONSUMER", first).span_id
    assert parents(spans, third)[0] == one(spans, "CONSUMER", second).span_id


def test_a_group_in_a_request_hangs_below_the_request(celery: CeleryHarness) -> None:
    """No span of its own is needed where one is current."""
    reply = celery.client.call("run_group", 3)
    spans = trace_of(celery, reply.trace_id, reply.result)
    assert [parents(spans, job)[0] for job in reply.result] == [reply.span_id] * 3
    groups = {one(spans, "CONSUMER", job).attributes.get(semconv.GROUP_ID) for job in reply.result}
    assert len(groups) == 1
    assert None not in groups


@pytest.mark.parametrize(
    ("operation", "label", "arguments", "count"),
    [("run_group", "group", [3], 3), ("run_chunks", "chunks", [4, 2], 2)],
)
def test_a_canvas_without_a_current_span_gets_one(
    celery: CeleryHarness, operation: str, label: str, arguments: Sequence[int], count: int
) -> None:
    """All jobs of one call share one trace, below one CLIENT span."""
    reply = celery.client.call(operation, *arguments, request=None)
    celery.wait_for_attempts(reply.result[0], 1)
    trace_id = celery.send_spans(reply.result[0])[0].trace_id
    spans = trace_of(celery, trace_id, reply.result)
    root = next(span for span in spans if not span.parent_id)
    assert (root.name, root.kind) == (f"send {label}", "CLIENT")
    assert [parents(spans, job)[0] for job in reply.result] == [root.span_id] * count
    assert root.attributes.get(semconv.MESSAGING_BATCH_COUNT, count) == count
    if label == "group":
        assert semconv.MESSAGING_BATCH_COUNT in root.attributes


@pytest.mark.parametrize("request_name", ["request", None])
def test_the_body_of_a_chord_hangs_below_the_header_task_that_completed_it(
    celery: CeleryHarness, request_name: str | None
) -> None:
    """One trace, whether or not the caller had a span."""
    reply = celery.client.call("run_chord", 3, request=request_name)
    body, header = reply.result["body"], reply.result["header"]
    celery.wait_for_attempts(body, 1)
    trace_id = celery.send_spans(body)[0].trace_id
    spans = trace_of(celery, trace_id, [body, *header])
    runs = {one(spans, "CONSUMER", job).span_id for job in header}
    assert parents(spans, body)[0] in runs
    above = {parents(spans, job)[0] for job in header}
    root = next(span for span in spans if not span.parent_id)
    assert above == {root.span_id}
    assert root.name == (request_name or "send chord")


@pytest.mark.parametrize(("kind", "name"), [("map", "celery.map"), ("starmap", "celery.starmap")])
def test_map_and_starmap_are_one_job(celery: CeleryHarness, kind: str, name: str) -> None:
    """The inner calls are function calls."""
    reply = celery.client.call("run_map", kind, 3)
    spans = trace_of(celery, reply.trace_id, [reply.result])
    names = sorted(span.name for span in spans)
    assert names == sorted(["request", f"send {name}", f"process {name}"])


def test_a_replaced_task_hands_its_id_to_a_new_job_below_it(celery: CeleryHarness) -> None:
    """Task.replace ends the host as ignored and sends the replacement."""
    job = celery.publish("replace")
    celery.wait_for_attempts(job.id, 2)
    spans = celery.wait_for_whole_trace(job.reply.trace_id)
    host, replacement = celery.process_spans(job.id)
    assert (host.name, replacement.name) == (f"process {APP}.replace", f"process {APP}.ok")
    assert host.attributes[semconv.TASK_OUTCOME] == "ignored"
    first, second = celery.send_spans(job.id)
    assert (first.parent_id, host.parent_id) == (job.reply.span_id, first.span_id)
    assert (second.parent_id, replacement.parent_id) == (host.span_id, second.span_id), draw(spans)


def test_a_link_is_sent_below_the_run_that_succeeded(celery: CeleryHarness) -> None:
    """The callback's send span belongs to the run."""
    reply = celery.client.call("linked", "ok", success="callback")
    spans = trace_of(celery, reply.trace_id, [reply.result])
    celery.receiver.wait_for_spans(
        lambda span: span.name == f"process {APP}.callback" and span.trace_id == reply.trace_id
    )
    spans = celery.wait_for_whole_trace(reply.trace_id)
    send = next(span for span in spans if span.name == f"send {APP}.callback")
    assert send.parent_id == one(spans, "CONSUMER", reply.result).span_id, draw(spans)


@pytest.mark.parametrize("failing", ["fail", "hard_limit", "kill_self"])
def test_an_errback_with_three_arguments_runs_below_the_run_that_failed(
    celery: CeleryHarness, failing: str
) -> None:
    """Celery calls it inline: in the child, or in the parent when the child could not tell."""
    reply = celery.client.call("linked", failing, error="errback_new")
    trace_of(celery, reply.trace_id, [reply.result])
    celery.receiver.wait_for_spans(lambda span: span.name == "errback" and span.trace_id == reply.trace_id)
    spans = celery.wait_for_whole_trace(reply.trace_id)
    run = one(spans, "CONSUMER", reply.result)
    assert {span.parent_id for span in spans if span.name == "errback"} == {run.span_id}, draw(spans)


def test_an_errback_by_id_is_sent_below_the_run_that_failed(celery: CeleryHarness) -> None:
    """The old signature is a task of its own."""
    reply = celery.client.call("linked", "fail", error="errback_old")
    celery.receiver.wait_for_spans(
        lambda span: span.name == f"process {APP}.errback_old" and span.trace_id == reply.trace_id
    )
    spans = celery.wait_for_whole_trace(reply.trace_id)
    send = next(span for span in spans if span.name == f"send {APP}.errback_old")
    assert send.parent_id == one(spans, "CONSUMER", reply.result).span_id, draw(spans)


def test_a_job_enqueued_by_a_job_hangs_below_its_run(celery: CeleryHarness) -> None:
    """One trace through two queues."""
    job = celery.publish("nested_publish")
    run = celery.wait_for_attempts(job.id, 1)[0]
    celery.receiver.wait_for_spans(
        lambda span: span.name == f"process {APP}.ok" and span.trace_id == run.trace_id
    )
    spans = celery.wait_for_whole_trace(run.trace_id)
    inner = next(span for span in spans if span.name == f"send {APP}.ok")
    assert inner.parent_id == run.span_id


def test_inner_spans_hang_below_the_run(celery: CeleryHarness) -> None:
    """What the task itself records arrives in its place."""
    job = celery.publish("inner_spans", 3)
    spans = trace_of(celery, job.reply.trace_id, [job.id])
    run = one(spans, "CONSUMER", job.id)
    inner = [span for span in spans if span.parent_id == run.span_id]
    assert [span.name for span in inner] == ["step 0", "step 1", "step 2"]
    assert {span.service for span in inner} == {celery.worker_service}


def test_baggage_reaches_the_task(celery: CeleryHarness) -> None:
    """W3C baggage travels with the message."""
    reply = celery.client.call("publish", "ok", baggage={"tenant": "acme"})
    assert celery.wait_for_note(reply.job_id)["baggage"] == {"tenant": "acme"}


def test_an_argument_that_cannot_be_serialised_fails_the_send_span(celery: CeleryHarness) -> None:
    """The caller gets Celery's exception and a clean context."""
    reply = celery.client.call("publish_unserializable")
    assert reply.error is not None
    assert reply.error["type"] == "EncodeError"
    assert reply.context_is_clean
    send = celery.receiver.wait_for_spans(
        lambda span: span.kind == "PRODUCER" and span.trace_id == reply.trace_id
    )[0]
    assert (send.status, send.parent_id) == ("ERROR", reply.span_id)
    assert send.attributes[semconv.ERROR_TYPE] == "kombu.exceptions.EncodeError"
    assert len(send.named_events(semconv.EVENT_EXCEPTION)) == 1


def test_a_broker_that_is_down_fails_the_send_span(celery: CeleryHarness) -> None:
    """The caller gets Celery's exception and a clean context."""
    reply = celery.client.call("publish_to", f"redis://127.0.0.1:{free_port()}/0", timeout=60)
    assert reply.error is not None
    assert reply.error["type"] == "OperationalError"
    assert reply.context_is_clean
    send = celery.receiver.wait_for_spans(
        lambda span: span.kind == "PRODUCER" and span.trace_id == reply.trace_id
    )[0]
    assert (send.status, send.parent_id) == ("ERROR", reply.span_id)
    assert send.attributes[semconv.ERROR_TYPE] == "kombu.exceptions.OperationalError"
    assert len(send.named_events(semconv.EVENT_EXCEPTION)) == 1


def test_a_direct_call_is_a_function_call(celery: CeleryHarness) -> None:
    """No span of ours; what the function records stays below the caller."""
    reply = celery.client.call("call_directly")
    assert reply.result == 2
    celery.receiver.wait_for_spans(lambda span: span.name == "plain work" and span.trace_id == reply.trace_id)
    celery.receiver.wait_for_spans(lambda span: span.name == "request" and span.trace_id == reply.trace_id)
    spans = celery.receiver.trace(reply.trace_id)
    assert sorted(span.name for span in spans) == ["plain work", "request"]


@pytest.mark.parametrize(("case", "status"), [("ok", "UNSET"), ("fail", "ERROR")])
def test_an_eager_run_is_an_internal_span_below_the_caller(
    celery: CeleryHarness, case: str, status: str
) -> None:
    """Task.apply sends no message."""
    reply = celery.client.call("eager", case)
    run = celery.receiver.wait_for_spans(
        lambda span: span.name == f"process {APP}.{case}" and span.trace_id == reply.trace_id
    )[0]
    assert (run.kind, run.status, run.parent_id) == ("INTERNAL", status, reply.span_id)
    assert run.service == celery.client_service
    spans = celery.wait_for_whole_trace(reply.trace_id)
    assert len(spans) == 2, draw(spans)


def test_an_eager_retry_stays_in_one_trace(celery: CeleryHarness) -> None:
    """All eager attempts belong to the caller's trace."""
    reply = celery.client.call("eager", "autoretry_until_success")
    assert reply.result["state"] == "SUCCESS"
    runs = celery.receiver.wait_for_spans(
        lambda span: (
            span.name == f"process {APP}.autoretry_until_success" and span.trace_id == reply.trace_id
        ),
        count=3,
    )
    outcomes = sorted(str(run.attributes[semconv.TASK_OUTCOME]) for run in runs)
    assert outcomes == ["retry", "retry", "success"]
    assert_no_dangling_parents(celery.wait_for_whole_trace(reply.trace_id))


def test_the_task_s_own_redis_calls_are_kept_and_the_worker_s_are_not(
    celery: CeleryHarness,
) -> None:
    """With the Redis instrumentation on, only what the user wrote makes spans."""
    job = celery.publish("redis_call")
    spans = trace_of(celery, job.reply.trace_id, [job.id])
    run = one(spans, "CONSUMER", job.id)
    redis = [span for span in spans if "redis" in span.scope]
    assert {span.parent_id for span in redis} == {run.span_id}, draw(spans)
    assert "SET" in {span.name for span in redis}
    celery.fence()
    everything = [
        span
        for span in celery.receiver.spans()
        if "redis" in span.scope and span.service == celery.worker_service
    ]
    assert {span.trace_id for span in everything} == {job.reply.trace_id}, draw(everything)
