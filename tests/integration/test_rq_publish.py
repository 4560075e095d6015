"""Every way to enqueue an RQ job: one send span, the right parent, the right trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest

from otel_taskqueue import semconv
from support.harness import redis_broker
from support.otlp import Span
from support.otlp.tree import draw
from support.rq_lab import RQLab, running_lab, since
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("rq-publish")
NOBODY = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def rq(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RQLab]:
    """A forking worker for the tests of this module."""
    with running_lab(redis_broker(redis_server), tmp_path_factory.mktemp("rq")) as lab:
        yield lab


def one(spans: Sequence[Span], kind: str, job_id: str) -> Span:
    """The only span of a kind about a job."""
    found = [
        span
        for span in spans
        if span.kind == kind and span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == job_id
    ]
    assert len(found) == 1, f"{kind} of {job_id}\n{draw(spans)}"
    return found[0]


def parents(spans: Sequence[Span], job_id: str) -> str:
    """What the send span hangs below, once the process span hangs below the send span."""
    send, process = one(spans, "PRODUCER", job_id), one(spans, "CONSUMER", job_id)
    assert process.parent_id == send.span_id, draw(spans)
    assert not process.links, draw(spans)
    return send.parent_id


def sends(rq: RQLab, job_id: str, count: int) -> list[Span]:
    """``count`` send spans of a job."""
    wait_for(lambda: len(rq.send_spans(job_id)) >= count, 20, f"{count} sends", lambda: rq.explain(job_id))
    found = rq.send_spans(job_id)
    assert len(found) == count, rq.explain(job_id)
    return found


@pytest.mark.parametrize("how", ["enqueue", "enqueue_call", "json", "by_name"])
def test_each_call_makes_one_send_span_below_the_caller(rq: RQLab, how: str) -> None:
    """enqueue, enqueue_call, a JSON serializer and a function by name look alike."""
    case = "support.apps.rq_jobs.ok" if how == "by_name" else "ok"
    if how == "json":
        reply = rq.client.call("publish", case, how=how)
        send = sends(rq, reply.job_id, 1)[0]
        assert send.parent_id == reply.span_id
        return
    job = rq.publish(case, how=how)
    rq.wait_for_attempts(job.id, 1)
    spans = rq.wait_for_whole_trace(job.reply.trace_id)
    assert parents(spans, job.id) == job.reply.span_id
    assert len(spans) == 3, draw(spans)
    assert job.reply.context_is_clean


def test_without_a_current_span_the_send_span_is_the_root(rq: RQLab) -> None:
    """A script's enqueue starts a trace."""
    job = rq.enqueue("ok", request=None)
    rq.wait_for_attempts(job.id, 1)
    assert sends(rq, job.id, 1)[0].parent_id == ""


def test_a_decorated_function_keeps_its_shared_meta(rq: RQLab) -> None:
    """Two requests, two traces, although both calls have one dict of meta."""
    replies = [rq.client.call("enqueue_decorated") for _ in range(2)]
    for reply in replies:
        assert reply.result["meta"] == {"team": "shop"}
        assert reply.result["carried"] == ["_otel", "team"]
        job_id = reply.result["id"]
        rq.wait_for_attempts(job_id, 1)
        assert parents(rq.wait_for_whole_trace(reply.trace_id), job_id) == reply.span_id


def test_the_callers_meta_is_never_written_to(rq: RQLab) -> None:
    """The carrier goes into a copy."""
    reply = rq.client.call("enqueue_with_meta")
    assert reply.result["meta"] == {"team": "shop"}
    for job_id in reply.result["ids"]:
        rq.wait_for_attempts(job_id, 1)
        assert parents(rq.wait_for_whole_trace(reply.trace_id), job_id) == reply.span_id


def test_a_method_is_named_after_its_class(rq: RQLab) -> None:
    """The name of the method alone would tell nothing."""
    job_id = rq.client.call("enqueue_method").job_id
    assert rq.exactly(job_id, 1)[0].name == "process support.apps.rq_lab.Order.ship"
    assert sends(rq, job_id, 1)[0].name == "send support.apps.rq_lab.Order.ship"


@pytest.mark.parametrize("lazily", [False, True])
def test_enqueue_many_without_a_caller_is_one_trace(rq: RQLab, *, lazily: bool) -> None:
    """One CLIENT span above the send spans; the count where the call can know it."""
    reply = rq.client.call("enqueue_many", ["ok", "ok"], lazily=lazily, request=None)
    for job_id in reply.result:
        rq.wait_for_attempts(job_id, 1)
    spans = rq.wait_for_whole_trace(sends(rq, reply.result[0], 1)[0].trace_id)
    root = next(span for span in spans if not span.parent_id)
    assert (root.name, root.kind) == ("send enqueue_many", "CLIENT")
    assert root.attributes.get(semconv.MESSAGING_BATCH_COUNT) == (None if lazily else 2)
    assert {parents(spans, job_id) for job_id in reply.result} == {root.span_id}


def test_enqueue_many_in_a_request_hangs_below_it(rq: RQLab) -> None:
    """No span more than needed."""
    reply = rq.client.call("enqueue_many", ["ok", "ok"])
    for job_id in reply.result:
        rq.wait_for_attempts(job_id, 1)
    spans = rq.wait_for_whole_trace(reply.trace_id)
    assert {parents(spans, job_id) for job_id in reply.result} == {reply.span_id}
    assert len(spans) == 5, draw(spans)


@since(2)
def test_a_group_names_itself_on_all_its_jobs(rq: RQLab) -> None:
    """taskqueue.group.id on both spans."""
    reply = rq.client.call("enqueue_group", ["ok", "ok"])
    for job_id in reply.result["ids"]:
        spans = [*rq.exactly(job_id, 1), *sends(rq, job_id, 1)]
        assert {span.attributes[semconv.GROUP_ID] for span in spans} == {reply.result["group"]}


def test_a_dependent_in_enqueue_many_is_sent_once_and_linked(rq: RQLab) -> None:
    """It is saved as deferred, and released by the end of the other job without another span."""
    reply = rq.client.call("enqueue_many_waiting", "sleep", 0.4)
    first, second = reply.result
    run = rq.exactly(first, 1)[0]
    process = rq.exactly(second, 1)[0]
    assert process.parent_id == sends(rq, second, 1)[0].span_id
    assert [link.span_id for link in process.links] == [run.span_id]


def test_enqueue_at_tells_the_moment_and_waits_for_free(rq: RQLab) -> None:
    """The scheduler's move makes no span; the delay is no queue wait."""
    reply = rq.client.call("enqueue_at", "ok", 1.2)
    job_id = reply.result["id"]
    process, send = rq.exactly(job_id, 1)[0], sends(rq, job_id, 1)[0]
    assert process.parent_id == send.span_id
    assert send.parent_id == reply.span_id
    when = datetime.fromisoformat(reply.result["when"])
    for span in (send, process):
        assert datetime.fromisoformat(span.attributes[semconv.TASK_ETA]) == when
    assert process.attributes[semconv.TASK_WAIT] < 0.9


def test_a_dependent_links_to_the_run_it_waited_for(rq: RQLab) -> None:
    """It stays in the trace of whoever enqueued it; its release makes no span."""
    reply = rq.client.call("publish_dependents", "sleep", "ok", [0.4])
    first, second = reply.result
    run, process = rq.exactly(first, 1)[0], rq.exactly(second, 1)[0]
    send = sends(rq, second, 1)[0]
    assert (process.parent_id, send.parent_id) == (send.span_id, reply.span_id)
    assert [link.span_id for link in process.links] == [run.span_id]


def test_a_dependent_of_a_failed_job_links_to_the_failure(rq: RQLab) -> None:
    """allow_failure: it waited all the same."""
    first = rq.enqueue("kill_self")
    second = rq.client.call("enqueue_after", first.id, "ok", allow_failure=True).job_id
    run, process = rq.exactly(first.id, 1)[0], rq.exactly(second, 1)[0]
    assert [link.span_id for link in process.links] == [run.span_id]


def test_a_met_dependency_is_nothing_to_wait_for(rq: RQLab) -> None:
    """Enqueued at once, linked to nothing."""
    first = rq.enqueue("ok")
    rq.exactly(first.id, 1)
    reply = rq.client.call("enqueue_after", first.id, "ok")
    rq.wait_for_attempts(reply.job_id, 1)
    assert parents(rq.wait_for_whole_trace(reply.trace_id), reply.job_id) == reply.span_id


@pytest.mark.parametrize("case", ["fail_once", "wipe_meta_and_fail"])
def test_a_job_requeued_by_hand_runs_below_who_requeued_it(rq: RQLab, case: str) -> None:
    """A send span in the caller's trace, linked to the run before, even when the meta was replaced."""
    job = rq.enqueue(case)
    first = rq.exactly(job.id, 1)[0]
    reply = rq.client.call("requeue", job.id)
    again = rq.exactly(job.id, 2)[1]
    send = sends(rq, job.id, 2)[1]
    assert (send.trace_id, send.parent_id) == (reply.trace_id, reply.span_id)
    assert [link.span_id for link in send.links] == [first.span_id]
    assert again.parent_id == send.span_id
    assert again.attributes[semconv.TASK_ATTEMPT] == 1


def test_a_job_enqueued_again_without_us_gets_a_trace_of_its_own(rq: RQLab) -> None:
    """Its carrier came back unchanged: a second run below the old send span would be a lie."""
    job = rq.enqueue("fail_once")
    rq.exactly(job.id, 1)
    rq.client.call("enqueue_again_without_us", job.id, request=None)
    again = rq.exactly(job.id, 2)[1]
    send = sends(rq, job.id, 1)[0]
    assert again.trace_id != job.reply.trace_id
    assert again.parent_id == ""
    assert [link.span_id for link in again.links] == [send.span_id]


@since(2, 3)
def test_each_repetition_is_a_trace_of_its_own_linked_to_the_run_before(rq: RQLab) -> None:
    """A repeated job would make the first trace endless."""
    reply = rq.client.call("enqueue_repeated", 2)
    runs = rq.exactly(reply.job_id, 3)
    first, *others = sends(rq, reply.job_id, 3)
    assert first.parent_id == reply.span_id
    assert [span.parent_id for span in others] == ["", ""]
    assert [[link.span_id for link in span.links] for span in others] == [[run.span_id] for run in runs[:2]]
    assert [run.parent_id for run in runs] == [span.span_id for span in (first, *others)]
    assert len({run.trace_id for run in runs}) == 3


@since(2, 10)
def test_a_duplicate_is_an_error_of_the_send_span_only(rq: RQLab) -> None:
    """unique=True: the caller gets RQ's own exception."""
    job_id = "unique-1"
    first = rq.client.call("enqueue_unique", job_id)
    rq.exactly(job_id, 1)
    second = rq.client.call("enqueue_unique", job_id)
    assert second.error is not None
    assert second.error["type"] == "DuplicateJobError"
    assert second.context_is_clean
    good, bad = sends(rq, job_id, 2)
    assert (good.status, good.parent_id) == ("UNSET", first.span_id)
    assert (bad.status, bad.parent_id) == ("ERROR", second.span_id)
    assert bad.attributes[semconv.ERROR_TYPE] == "rq.exceptions.DuplicateJobError"


@pytest.mark.parametrize(("case", "outcome"), [("ok", "success"), ("fail", "failure")])
def test_a_synchronous_queue_runs_inside_of_the_send_span(rq: RQLab, case: str, outcome: str) -> None:
    """An INTERNAL process span in the caller's own process."""
    reply = rq.client.call("run_sync", case)
    spans = rq.receiver.wait_for_spans(lambda span: span.trace_id == reply.trace_id, 3, what="the whole call")
    assert reply.error is None
    assert reply.context_is_clean
    send, process = one(spans, "PRODUCER", reply.job_id), one(spans, "INTERNAL", reply.job_id)
    assert (send.parent_id, process.parent_id) == (reply.span_id, send.span_id)
    assert process.attributes[semconv.TASK_OUTCOME] == outcome
    assert process.attributes[semconv.PROCESS_PID] == rq.client.process.pid
    assert rq.notes(reply.job_id, "ran")[0]["span_id"] == process.span_id


USES_REDIS = "enqueue_and_use_redis"
OF_A_JOB = ["GET", "send support.apps.rq_jobs.ok"]
OF_A_CALLBACK = ["GET", "callback"]


@pytest.mark.parametrize(
    ("case", "callbacks", "inside"),
    [
        ("ok", {}, []),
        ("fail", {}, []),
        (USES_REDIS, {}, OF_A_JOB),
        ("ok", {"on_success": "use_redis_in_callback"}, OF_A_CALLBACK),
        ("fail", {"on_failure": "use_redis_in_callback"}, OF_A_CALLBACK),
        ("ok", {"on_failure": "use_redis_in_callback"}, []),
        (USES_REDIS, {"on_success": "use_redis_in_callback"}, [*OF_A_JOB, *OF_A_CALLBACK]),
        ("ok", {"on_success": "fail_in_callback"}, []),
    ],
)
def test_a_synchronous_queue_adds_no_span_of_its_own_calls(
    rq: RQLab, case: str, callbacks: dict[str, str], inside: list[str]
) -> None:
    """What RQ stores of the job is silent, what the job and its callbacks do is heard."""
    reply = rq.client.call("run_sync", case, **callbacks)
    failed = callbacks.get("on_success") == "fail_in_callback"
    assert (reply.error is not None) == failed, reply.error
    client = rq.client_service

    def here() -> list[Span]:
        return [span for span in rq.receiver.trace(reply.trace_id) if span.service == client]

    wait_for(
        lambda: any(span.span_id == reply.span_id for span in here()),
        20,
        "the end of the call",
        lambda: rq.whole_trace(reply.trace_id),
    )
    name = f"support.apps.rq_lab.{case}" if case == USES_REDIS else rq.task_name(case)
    expected = [*inside, "request", *(f"{what} {name}" for what in ("process", "send"))]
    assert sorted(span.name for span in here()) == sorted(expected), rq.whole_trace(reply.trace_id)
    assert reply.context_is_clean


@pytest.mark.parametrize("how", ["enqueue", "enqueue_in", "enqueue_many"])
def test_a_broker_that_is_down_is_an_error_of_the_send_span(rq: RQLab, how: str) -> None:
    """The caller gets redis-py's exception and a clean context."""
    reply = rq.client.call("enqueue_far_away", how)
    assert reply.error is not None
    assert reply.error["type"] == "ConnectionError"
    assert reply.context_is_clean
    spans = rq.receiver.wait_for_spans(
        lambda span: span.trace_id == reply.trace_id and span.kind in {"PRODUCER", "CLIENT"}, 1
    )
    failed = [span for span in spans if span.attributes.get(semconv.SYSTEM) == "rq"]
    assert [span.status for span in failed] == ["ERROR"], draw(spans)
    assert failed[0].attributes[semconv.ERROR_TYPE] == "redis.exceptions.ConnectionError"
    assert len(failed[0].named_events("exception")) == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_an_argument_that_cannot_be_serialised_is_an_error_of_the_send_span(
    rq: RQLab, *, as_json: bool
) -> None:
    """The caller gets the serializer's exception."""
    reply = rq.client.call("enqueue_unserialisable", as_json=as_json)
    assert reply.error is not None
    assert reply.context_is_clean
    spans = rq.receiver.wait_for_spans(
        lambda span: span.trace_id == reply.trace_id and span.kind == "PRODUCER", 1
    )
    assert [span.status for span in spans] == ["ERROR"]
    assert spans[0].parent_id == reply.span_id


@since(2, 4)
def test_cron_makes_a_new_job_of_each_run(rq: RQLab) -> None:
    """A root send span, as nobody called."""
    reply = rq.client.call("enqueue_by_cron", "ok", request=None)
    process = rq.exactly(reply.job_id, 1)[0]
    send = sends(rq, reply.job_id, 1)[0]
    assert (send.parent_id, process.parent_id) == ("", send.span_id)


def test_a_job_may_ask_for_a_trace_of_its_own(rq: RQLab) -> None:
    """meta['_otel_trace_style'] = 'link'."""
    job = rq.enqueue("ok", meta={"_otel_trace_style": "link"})
    process, send = rq.exactly(job.id, 1)[0], sends(rq, job.id, 1)[0]
    assert process.trace_id != send.trace_id
    assert [link.span_id for link in process.links] == [send.span_id]


def test_what_another_instrumentation_carries_is_continued(rq: RQLab) -> None:
    """otel-rq writes the traceparent to the top level of meta."""
    job_id = rq.client.call("enqueue_with_foreign_carrier", NOBODY, request=None).job_id
    spans = rq.receiver.wait_for_spans(
        lambda span: span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == job_id, 1
    )
    assert f"00-{spans[0].trace_id}-{spans[0].parent_id}-01" == NOBODY


def test_suppressed_by_the_user_nothing_is_sent_along(rq: RQLab) -> None:
    """suppress_instrumentation(): no send span; the run is a trace of its own."""
    job_id = rq.client.call("enqueue_suppressed", "ok").job_id
    spans = rq.receiver.wait_for_spans(
        lambda span: span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == job_id, 1
    )
    assert [(span.kind, span.parent_id) for span in spans] == [("CONSUMER", "")]
    assert rq.send_spans(job_id) == []


def test_a_job_enqueued_by_a_job_hangs_below_its_run(rq: RQLab) -> None:
    """And the job's own Redis calls are there, RQ's are not."""
    job = rq.enqueue("enqueue_and_use_redis")
    run = rq.exactly(job.id, 1)[0]
    spans = rq.wait_for_whole_trace(job.reply.trace_id)
    below = [span for span in spans if span.parent_id == run.span_id]
    assert sorted(span.name for span in below) == ["GET", "send support.apps.rq_jobs.ok"], draw(spans)
