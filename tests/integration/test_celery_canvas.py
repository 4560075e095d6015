"""Canvas, retries and eager runs: who hangs below whom, and what the caller never notices."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from otel_taskqueue import semconv
from support.celery_lab import OURS, CeleryLab, running_lab
from support.client import Client
from support.env import script
from support.harness import redis_broker
from support.otlp import Span
from support.otlp.tree import assert_no_dangling_parents, draw
from support.process import RealProcess
from support.servers import RedisServer, free_port

pytestmark = pytest.mark.xdist_group("celery-canvas")
LAB = "support.apps.celery_lab"
APP = "support.apps.celery_app"


@pytest.fixture(scope="module")
def lab(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryLab]:
    """A prefork worker on Redis for this module."""
    directory = tmp_path_factory.mktemp("canvas")
    with running_lab(redis_broker(redis_server), directory) as running:
        yield running


def the_only_root(lab: CeleryLab, job_ids: Sequence[str]) -> Span:
    """The root of the one trace that holds all these jobs."""
    runs = [lab.process_span(job_id) for job_id in job_ids]
    traces = {run.trace_id for run in runs}
    assert len(traces) == 1, "\n".join(lab.whole_trace(trace) for trace in traces)
    spans = lab.wait_for_whole_trace(traces.pop())
    roots = [span for span in spans if not span.parent_id]
    assert len(roots) == 1, draw(spans)
    return roots[0]


@pytest.mark.parametrize(("kind", "messages"), [("group", 3), ("chord", 3), ("chain", 3), ("chunks", 3)])
def test_a_canvas_call_without_a_current_span_is_one_trace_below_one_client_span(
    lab: CeleryLab, kind: str, messages: int
) -> None:
    """The CLIENT span names the call and counts its jobs; it has no job's attributes."""
    reply = lab.client.call("canvas", kind, request=None)
    jobs = [*reply.result["ids"], *([reply.result["body"]] if "body" in reply.result else [])]
    root = the_only_root(lab, jobs)
    assert (root.name, root.kind, root.status) == (f"send {kind}", "CLIENT", "UNSET")
    assert root.service == lab.client_service
    assert root.attributes[semconv.MESSAGING_BATCH_COUNT] == messages
    assert root.attributes[semconv.MESSAGING_SYSTEM] == "redis"
    assert root.attributes[semconv.SERVER_PORT] == lab.broker.port
    assert semconv.MESSAGING_MESSAGE_ID not in root.attributes
    sent_by_the_client = reply.result["ids"][:1] if kind == "chain" else reply.result["ids"]
    assert {lab.send_span(job).parent_id for job in sent_by_the_client} == {root.span_id}
    spans = lab.receiver.trace(root.trace_id)
    assert {span.scope for span in spans} == {OURS}, draw(spans)  # no bookkeeping in the backend
    assert reply.context_is_clean


def test_a_lazy_group_is_counted_after_it_was_sent(lab: CeleryLab) -> None:
    """A generator is not consumed before Celery consumes it."""
    reply = lab.client.call("canvas", "group", lazily=True, request=None)
    assert len(reply.result["ids"]) == 3
    root = the_only_root(lab, reply.result["ids"])
    assert root.attributes[semconv.MESSAGING_BATCH_COUNT] == 3


def test_a_canvas_call_that_celery_refuses_ends_with_its_exception(lab: CeleryLab) -> None:
    """The exception reaches the caller unchanged; the CLIENT span ends with it."""
    reply = lab.client.call("group_with_link", request=None)
    assert reply.error == {"type": "TypeError", "text": "Cannot add link to group: use a chord"}
    assert reply.context_is_clean
    root = lab.receiver.wait_for_spans(
        lambda span: span.name == "send group" and span.start >= reply.started and span.status == "ERROR"
    )[0]
    assert root.attributes[semconv.ERROR_TYPE] == "TypeError"
    assert [event.name for event in root.events] == [semconv.EVENT_EXCEPTION]


def test_with_the_broker_down_the_call_fails_as_ever_and_every_span_says_so(lab: CeleryLab) -> None:
    """Celery's own patience, Celery's own exception, nothing left behind in the caller."""
    env = {**lab.env("offline"), "TASKQUEUE_TEST_BROKER": f"redis://127.0.0.1:{free_port()}/0"}
    client = Client(lab.client_module, env, lab.directory / "offline.log")
    try:
        single = client.call("enqueue", "ok", request=None, timeout=60)
        group = client.call("canvas", "group", request=None, timeout=60)
    finally:
        client.stop()
    for reply in (single, group):
        assert reply.error is not None
        assert reply.error["type"] == "OperationalError"
        assert reply.context_is_clean
    spans = lab.receiver.wait_for_spans(lambda span: span.service == "offline", 3)
    root = next(span for span in spans if span.name == "send group")
    assert [span.parent_id for span in spans if span.kind == "PRODUCER"] == ["", root.span_id], draw(spans)
    assert {(span.status, span.attributes[semconv.ERROR_TYPE]) for span in spans} == {
        ("ERROR", "kombu.exceptions.OperationalError")
    }
    assert {span.scope for span in spans} == {OURS}, draw(spans)


def test_a_group_from_a_stored_dict_is_one_trace(lab: CeleryLab) -> None:
    """Canvases that were serialised and loaded are the same."""
    reply = lab.client.call("serialized_canvas", request=None)
    assert the_only_root(lab, reply.result).name == "send group"


def test_retries_are_siblings_below_the_first_send_each_linked_to_the_one_before(lab: CeleryLab) -> None:
    """The message keeps the original sender; each new send hangs below the attempt that asked."""
    job = lab.enqueue("retry_twice", 1.0)
    first, second, third = lab.process_spans_of(job.id, 3)
    spans = lab.wait_for_whole_trace(job.reply.trace_id)
    sends = lab.send_spans(job.id)
    assert {span.parent_id for span in (first, second, third)} == {sends[0].span_id}, draw(spans)
    assert [send.parent_id for send in sends] == [job.reply.span_id, first.span_id, second.span_id]
    assert [[link.span_id for link in span.links] for span in (first, second, third)] == [
        [],
        [first.span_id],
        [second.span_id],
    ]
    assert [span.attributes[semconv.TASK_ATTEMPT] for span in (first, second, third)] == [1, 2, 3]
    waits = [span.attributes[semconv.TASK_WAIT] for span in (first, second, third)]
    assert max(waits) < 0.8, f"the countdown of 1 s is no time in the queue: {waits}"
    assert second.start - first.start >= 0.9e9
    assert [event.attributes[semconv.RETRY_DELAY] for event in first.named_events(semconv.EVENT_RETRY)] == [
        pytest.approx(1.0, abs=0.2)
    ]


def test_the_time_until_the_eta_is_no_time_in_the_queue(lab: CeleryLab) -> None:
    """A countdown delays the start; the wait tells how late it was beyond that."""
    job = lab.enqueue("ok", countdown=1.2)
    run = lab.process_span(job.id)
    assert run.start - job.reply.ended >= 1.0e9
    assert 0 <= run.attributes[semconv.TASK_WAIT] < 0.9
    send = lab.send_span(job.id)
    assert send.attributes[semconv.TASK_ETA] == run.attributes[semconv.TASK_ETA]
    assert str(send.attributes[semconv.TASK_ETA]).endswith("+00:00")


def test_a_chain_in_the_place_of_a_task_hangs_below_it(lab: CeleryLab) -> None:
    """Task.replace with a canvas: new jobs below the run that asked for them."""
    job = lab.enqueue("replace_by_chain")
    lab.receiver.wait_for_spans(
        lambda span: span.name == f"process {APP}.add" and span.trace_id == job.reply.trace_id, 2
    )
    spans = lab.wait_for_whole_trace(job.reply.trace_id)
    host = next(span for span in spans if span.name == f"process {LAB}.replace_by_chain")
    sends = [span for span in spans if span.name == f"send {APP}.add"]
    runs = [span for span in spans if span.name == f"process {APP}.add"]
    assert [send.parent_id for send in sends] == [host.span_id, runs[0].span_id], draw(spans)
    assert [run.parent_id for run in runs] == [send.span_id for send in sends]
    assert not any(span.name == "send chain" for span in spans)


def test_the_caller_s_headers_are_never_changed_and_each_message_has_its_own(lab: CeleryLab) -> None:
    """One dict for three calls: it stays as it was, and every run hangs below its own send."""
    mine = {"tenant": "acme", "nested": {"a": 1}, "traceparent": f"00-{1:032x}-{2:016x}-01"}
    reply = lab.client.call("enqueue_with_headers", "tell_headers", mine)
    assert reply.result["headers"] == mine
    for job_id in reply.result["ids"]:
        run, send = lab.process_span(job_id), lab.send_span(job_id)
        assert (run.trace_id, run.parent_id) == (reply.trace_id, send.span_id)
        arrived = lab.wait_for_note(job_id, "headers")["headers"]
        assert (arrived["tenant"], arrived["nested"]) == ("acme", {"a": 1})
        assert send.span_id in arrived["traceparent"]


def test_beat_s_messages_are_traces_of_their_own(lab: CeleryLab) -> None:
    """Each tick is a root; an entry's headers, which beat shares between ticks, are left alone."""
    entry = {"task": f"{LAB}.tell_headers", "schedule": 0.3, "options": {"headers": {"mine": "yes"}}}
    env = {
        **lab.env("beat"),
        "TASKQUEUE_TEST_BEAT": json.dumps({"tick": entry}),
    }
    schedule = str(lab.directory / "schedule")
    command = [
        *[script("opentelemetry-instrument"), script("celery"), "-A", LAB, "beat"],
        *["-s", schedule, "--pidfile=", "--max-interval=1", "-l", "INFO"],
    ]
    with RealProcess("beat", command, env=env, log=lab.directory / "beat.log") as beat:
        sends = lab.receiver.wait_for_spans(
            lambda span: span.service == "beat" and span.kind == "PRODUCER", 2, 30, beat.tail()
        )
    assert all(send.parent_id == "" for send in sends)
    assert len({send.trace_id for send in sends}) == len(sends)
    for send in sends[:2]:
        job_id = send.attributes[semconv.MESSAGING_MESSAGE_ID]
        assert lab.process_span(job_id).parent_id == send.span_id
        arrived = lab.wait_for_note(job_id, "headers")["headers"]
        assert arrived["mine"] == "yes"
        assert send.span_id in arrived["traceparent"]


def test_a_direct_call_inside_a_task_makes_no_span(lab: CeleryLab) -> None:
    """A task that is called like a function is a function."""
    job = lab.enqueue("call_another_directly")
    lab.process_span(job.id)
    lab.fence()
    names = [span.name for span in lab.wait_for_whole_trace(job.reply.trace_id)]
    case = f"{LAB}.call_another_directly"
    assert sorted(names) == [f"process {case}", "request", f"send {case}"]


def test_an_eager_run_inside_a_task_is_internal_below_it(lab: CeleryLab) -> None:
    """It is relayed like any inner span, and belongs to no attempt of the worker's."""
    job = lab.enqueue("run_another_eagerly")
    run = lab.process_span(job.id)
    inner = lab.receiver.wait_for_spans(lambda span: span.parent_id == run.span_id)
    assert [(span.name, span.kind) for span in inner] == [(f"process {APP}.ok", "INTERNAL")]
    assert inner[0].attributes[semconv.TASK_OUTCOME] == "success"


@pytest.mark.parametrize("request_name", ["request", None])
@pytest.mark.parametrize("always", [False, True])
def test_eager_attempts_are_siblings_in_one_trace_each_linked_to_the_one_before(
    lab: CeleryLab, request_name: str | None, *, always: bool
) -> None:
    """Below the caller's span; without one, below the first attempt."""
    reply = lab.client.call("eager", "autoretry_until_success", always=always, request=request_name)
    assert reply.result["state"] == "SUCCESS"
    runs = lab.receiver.wait_for_spans(
        lambda span: span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == reply.result["id"], 3
    )
    first, second, third = runs
    above = reply.span_id if request_name else first.span_id
    assert {run.kind for run in runs} == {"INTERNAL"}
    assert {run.trace_id for run in runs} == {first.trace_id}, draw(runs)
    assert [first.parent_id, second.parent_id, third.parent_id] == [reply.span_id, above, above], draw(runs)
    assert [[link.span_id for link in run.links] for run in runs] == [[], [first.span_id], [second.span_id]]
    assert [run.attributes[semconv.TASK_ATTEMPT] for run in runs] == [1, 2, 3]
    outcomes = [run.attributes[semconv.TASK_OUTCOME] for run in runs]
    assert outcomes == ["retry", "retry", "success"]
    assert not any(span.kind == "PRODUCER" for span in lab.receiver.trace(first.trace_id))
    assert_no_dangling_parents(lab.wait_for_whole_trace(first.trace_id))
    assert reply.context_is_clean


def test_an_eager_retry_that_is_thrown_is_a_retry_and_no_error(lab: CeleryLab) -> None:
    """`apply(throw=True)` raises Celery's Retry to the caller, unchanged."""
    reply = lab.client.call("eager", "retry_with_countdown", throw=True)
    assert reply.error is not None
    assert reply.error["type"] == "Retry"
    run = lab.receiver.wait_for_spans(
        lambda span: span.trace_id == reply.trace_id and span.kind == "INTERNAL" and span.parent_id != ""
    )[0]
    assert (run.status, run.attributes[semconv.TASK_OUTCOME]) == ("UNSET", "retry")
    assert len(run.named_events(semconv.EVENT_RETRY)) == 1
    assert semconv.ERROR_TYPE not in run.attributes
