"""What users may choose: arguments, baggage, excluded tasks, links instead of parents, names, sampling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_taskqueue import semconv
from support.audit import audit
from support.celery_lab import CeleryLab, running_lab
from support.harness import redis_broker
from support.otlp import Span
from support.otlp.tree import draw
from support.servers import RedisServer

pytestmark = pytest.mark.xdist_group("celery-settings")
LAB = "support.apps.celery_lab"
APP = "support.apps.celery_app"
UNSAMPLED = f"00-{0xABC:032x}-{0xDEF:016x}-00"


@pytest.fixture(scope="module")
def chosen(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryLab]:
    """A worker and a client with arguments captured, baggage copied, and some tasks excluded."""
    env = {
        "OTEL_PYTHON_TASKQUEUE_CAPTURE_ARGUMENTS": "true",
        "OTEL_PYTHON_TASKQUEUE_CAPTURE_ARGUMENTS_MAX_LENGTH": "120",
        "OTEL_PYTHON_TASKQUEUE_BAGGAGE_KEYS": "tenant,request.id",
        "OTEL_PYTHON_TASKQUEUE_EXCLUDED_TASKS": "*.excluded_*",
    }
    directory = tmp_path_factory.mktemp("chosen")
    with running_lab(redis_broker(redis_server), directory, env=env) as lab:
        yield lab


@pytest.fixture(scope="module")
def linking(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryLab]:
    """A worker and a client with a trace for each attempt, and spans named after queues."""
    env = {
        "OTEL_PYTHON_TASKQUEUE_TRACE_STYLE": "link",
        "OTEL_PYTHON_TASKQUEUE_SPAN_NAMING": "queue",
        "OTEL_PYTHON_TASKQUEUE_SUPPRESS_BROKER_SPANS": "false",
    }
    directory = tmp_path_factory.mktemp("linking")
    with running_lab(redis_broker(redis_server), directory, env=env) as lab:
        yield lab


def test_captured_arguments_are_on_both_spans_bounded_and_redacted(chosen: CeleryLab) -> None:
    """Secrets go, by key and inside of texts, before the text is cut."""
    url = "amqp://shop:hunter2@broker/"
    job = chosen.enqueue(
        "with_arguments", "order 17", {"password": "swordfish", "note": url}, kwargs={"api_key": "k-123"}
    )
    for span in (chosen.send_span(job.id), chosen.process_span(job.id)):
        args, kwargs = span.attributes[semconv.TASK_ARGS], span.attributes[semconv.TASK_KWARGS]
        assert "order 17" in args
        for secret in ("swordfish", "hunter2", "k-123"):
            assert secret not in repr(span), span
        assert "[redacted]" in args
        assert "[redacted]" in kwargs
        assert len(args) <= 120


def test_captured_arguments_are_cut(chosen: CeleryLab) -> None:
    """A long text ends with an ellipsis at the bound."""
    job = chosen.enqueue("with_arguments", "x" * 5000)
    args = chosen.process_span(job.id).attributes[semconv.TASK_ARGS]
    assert len(args) == 120
    assert args.endswith("…")


def test_nothing_of_the_arguments_leaves_by_default(linking: CeleryLab) -> None:
    """Without being asked, no span holds an argument."""
    job = linking.enqueue("with_arguments", "a private word", kwargs={"more": "a private word"})
    spans = (linking.send_span(job.id), linking.process_span(job.id))
    assert "a private word" not in repr(spans)


def test_chosen_baggage_is_on_every_span_of_the_job(chosen: CeleryLab) -> None:
    """Under its own names, and nothing that was not chosen."""
    carried = {"tenant": "acme", "request.id": "r-1", "secret": "no"}
    reply = chosen.client.call("enqueue", "nested_publish", baggage=carried)
    chosen.process_span(reply.job_id)
    spans = chosen.receiver.wait_for_spans(
        lambda span: span.trace_id == reply.trace_id and span.kind in {"PRODUCER", "CONSUMER"}, 4
    )
    assert {(span.attributes.get("tenant"), span.attributes.get("request.id")) for span in spans} == {
        ("acme", "r-1")
    }, draw(spans)
    assert not any("secret" in span.attributes for span in spans)


def test_an_excluded_task_has_no_span_and_the_context_travels_through_it(chosen: CeleryLab) -> None:
    """What it enqueues hangs below whoever enqueued it, baggage included."""
    reply = chosen.client.call("enqueue", "excluded_relay", baggage={"tenant": "acme"})
    inner = chosen.receiver.wait_for_spans(
        lambda span: span.trace_id == reply.trace_id and span.kind == "CONSUMER"
    )[0]
    spans = chosen.wait_for_whole_trace(reply.trace_id)
    assert {span.name for span in spans} == {"request", f"process {APP}.ok", f"send {APP}.ok"}, draw(spans)
    send = next(span for span in spans if span.name == f"send {APP}.ok")
    assert send.parent_id == reply.span_id, draw(spans)
    assert inner.attributes["tenant"] == "acme"


def test_an_excluded_task_whose_process_is_killed_has_no_span(chosen: CeleryLab) -> None:
    """The parent's verdict keeps silent, too."""
    job = chosen.enqueue("excluded_victim")
    chosen.client.call("wait_for_state", job.id, ["FAILURE"], request=None)
    chosen.fence()
    assert chosen.receiver.job_spans(job.id) == []


def test_a_task_may_ask_for_a_trace_of_its_own(chosen: CeleryLab) -> None:
    """`Task.otel_trace_style = "link"` on a single task."""
    job = chosen.enqueue("with_link_style")
    run, send = chosen.process_span(job.id), chosen.send_span(job.id)
    assert_own_trace(run, send)
    assert send.parent_id == job.reply.span_id


def assert_own_trace(run: Span, send: Span) -> None:
    """The run is the root of another trace, and its first link of all leads to the send span."""
    assert (run.parent_id, send.trace_id == run.trace_id) == ("", False)
    assert (send.trace_id, send.span_id) in {(link.trace_id, link.span_id) for link in run.links}


def test_in_link_style_each_attempt_is_a_trace_linked_to_the_send_and_to_the_one_before(
    linking: CeleryLab,
) -> None:
    """For long delays and huge fan-outs; names as the conventions have them."""
    job = linking.enqueue("retry_twice")
    runs = linking.process_spans_of(job.id, 3)
    send = linking.send_spans(job.id)[0]
    assert len({run.trace_id for run in runs}) == 3
    for number, run in enumerate(runs):
        assert_own_trace(run, send)
        before = {runs[number - 1].span_id} if number else set()
        assert {link.span_id for link in run.links} == {send.span_id, *before}
    assert {run.name for run in runs} == {f"process {linking.queue}"}
    assert send.name == f"send {linking.queue}"
    assert send.attributes[semconv.TASK_NAME] == f"{LAB}.retry_twice"


def test_the_broker_s_own_spans_can_be_had(linking: CeleryLab) -> None:
    """SUPPRESS_BROKER_SPANS=false, for those who debug their broker."""
    job = linking.enqueue("ok")
    send, run = linking.send_span(job.id), linking.process_span(job.id)
    pushed = linking.receiver.wait_for_spans(lambda span: span.parent_id == send.span_id)
    assert {span.name for span in pushed} == {"LPUSH"}, draw(pushed)
    stored = linking.receiver.wait_for_spans(lambda span: span.parent_id == run.span_id)
    assert all(span.scope.endswith("redis") for span in stored), draw(stored)


@pytest.mark.parametrize(("case", "outcome"), [("ok", "revoked"), ("kill_self", "lost")])
def test_in_link_style_an_attempt_that_the_parent_reports_is_a_trace_of_its_own(
    linking: CeleryLab, case: str, outcome: str
) -> None:
    """Whether its child had started a span or not."""
    job = linking.enqueue(case, countdown=0.8)
    if outcome == "revoked":
        linking.cancel(job.id)
    run = linking.process_span(job.id)
    assert run.attributes[semconv.TASK_OUTCOME] == outcome
    assert_own_trace(run, linking.send_span(job.id))


@pytest.mark.parametrize("case", ["ok", "retry_twice", "nested_publish"])
def test_a_job_that_is_not_sampled_has_no_spans_and_no_loose_ends(chosen: CeleryLab, case: str) -> None:
    """The decision of the caller travels with the message, through retries and further jobs."""
    reply = chosen.client.call("with_traceparent", UNSAMPLED, case, request=None)
    chosen.client.call("wait_for_state", reply.job_id, ["SUCCESS"], request=None)
    assert chosen.wait_for_note(reply.job_id)["trace_id"] == f"{0xABC:032x}"
    chosen.fence()
    assert [span for span in chosen.receiver.spans() if span.trace_id == f"{0xABC:032x}"] == []
    assert chosen.receiver.job_spans(reply.job_id) == []


def test_an_attempt_that_is_not_sampled_has_no_span_when_it_is_killed(chosen: CeleryLab) -> None:
    """The parent's verdict respects the decision."""
    reply = chosen.client.call("with_traceparent", UNSAMPLED, "kill_self", request=None)
    chosen.client.call("wait_for_state", reply.job_id, ["FAILURE"], request=None)
    chosen.fence()
    assert chosen.receiver.job_spans(reply.job_id) == []


def test_after_the_stop_nothing_was_told_about_what_is_excluded_or_not_sampled(chosen: CeleryLab) -> None:
    """Verdicts that wait for a child's word are due at the stop at the latest."""
    audit(chosen, chosen.stop_worker())
    spans = chosen.receiver.spans()
    assert [span for span in spans if "excluded" in span.name or span.trace_id == f"{0xABC:032x}"] == []
    chosen.wait_for_every_parent()
