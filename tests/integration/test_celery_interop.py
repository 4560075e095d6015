"""Others on the same broker: the official instrumentation, old protocols, damaged headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from otel_taskqueue import semconv
from support.audit import audit, check_no_secrets, check_no_span_twice
from support.celery_lab import OURS, CeleryLab, running_lab
from support.client import Client
from support.harness import redis_broker
from support.otlp import Span
from support.otlp.tree import draw
from support.servers import RedisServer

pytestmark = pytest.mark.xdist_group("celery-interop")
APP = "support.apps.celery_app"
LAB = "support.apps.celery_lab"
OFFICIAL = "opentelemetry.instrumentation.celery"
PARENT = f"00-{0xFACE:032x}-{0xBEEF:016x}-01"
HUGE = "x" * 65536


@pytest.fixture(scope="module")
def lab(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryLab]:
    """Our worker; the official instrumentation is installed too, as everywhere here."""
    directory = tmp_path_factory.mktemp("interop")
    with running_lab(redis_broker(redis_server), directory) as running:
        yield running


@pytest.fixture(scope="module")
def official(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryLab]:
    """A worker and a client with the official instrumentation: ours was told to stay out."""
    directory = tmp_path_factory.mktemp("official")
    env = {"OTEL_PYTHON_TASKQUEUE_TAKE_OVER": "false"}
    with running_lab(redis_broker(redis_server), directory, env=env) as running:
        yield running


def client_of(lab: CeleryLab, service: str, **env: str) -> Client:
    """Another client of the same worker, with another environment."""
    return Client(lab.client_module, {**lab.env(service), **env}, lab.directory / f"{service}.log")


def official_spans(lab: CeleryLab, name: str, trace_id: str) -> list[Span]:
    """Spans of the official instrumentation in a trace, once there is one."""
    return lab.receiver.wait_for_spans(
        lambda span: span.scope == OFFICIAL and span.name.startswith(name) and span.trace_id == trace_id
    )


def test_a_message_of_the_official_instrumentation_is_continued(lab: CeleryLab) -> None:
    """The client runs the official one because ours is disabled by name there."""
    client = client_of(lab, "theirs", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otel_taskqueue_celery")
    try:
        reply = client.call("enqueue", "ok")
    finally:
        client.stop()
    run = lab.process_span(reply.job_id)
    sends = official_spans(lab, "apply_async", reply.trace_id)
    assert len(sends) == 1
    assert (run.trace_id, run.parent_id) == (reply.trace_id, sends[0].span_id)
    assert {span.scope for span in lab.receiver.job_spans(reply.job_id)} == {OFFICIAL, OURS}
    assert len(lab.receiver.job_spans(reply.job_id)) == 2
    assert semconv.TASK_WAIT not in run.attributes  # nobody told when it was sent


def test_our_message_is_continued_by_the_official_instrumentation(official: CeleryLab) -> None:
    """A worker that was not migrated yet hangs its span below our send span."""
    client = client_of(official, "ours", OTEL_PYTHON_TASKQUEUE_TAKE_OVER="true")
    try:
        reply = client.call("enqueue", "ok")
    finally:
        client.stop()
    run = official_spans(official, "run/", reply.trace_id)
    assert len(run) == 1
    assert run[0].parent_id == official.send_span(reply.job_id).span_id
    assert official.notes(reply.job_id)[0]["span_id"] == run[0].span_id


def test_told_to_stay_out_ours_stays_out_of_client_and_worker(official: CeleryLab) -> None:
    """The official instrumentation alone makes one pair of spans."""
    reply = official.client.call("enqueue", "ok")
    run = official_spans(official, "run/", reply.trace_id)
    spans = official.wait_for_whole_trace(reply.trace_id)
    assert len(run) == 1
    assert sorted(span.name.partition("/")[0] for span in spans if span.scope == OFFICIAL) == [
        "apply_async",
        "run",
    ]
    assert not any(span.scope == OURS for span in spans), draw(spans)


def test_installed_side_by_side_only_ours_speaks(lab: CeleryLab) -> None:
    """`opentelemetry-instrument` passes the official one over; nothing is doubled."""
    job = lab.enqueue("nested_publish")
    lab.process_span(job.id)
    lab.receiver.wait_for_spans(
        lambda span: span.trace_id == job.reply.trace_id and span.kind == "CONSUMER", 2
    )
    spans = lab.wait_for_whole_trace(job.reply.trace_id)
    case = f"{APP}.nested_publish"
    names = ["request", f"send {case}", f"process {case}", f"send {APP}.ok", f"process {APP}.ok"]
    assert sorted(span.name for span in spans) == sorted(names), draw(spans)


def test_retries_of_a_message_without_a_sender_stay_in_one_trace(lab: CeleryLab) -> None:
    """Without an instrumented client the first attempt is the root, and each is linked to the one before."""
    reply = lab.client.call("raw", "autoretry_until_success", {})
    first, second, third = lab.process_spans_of(reply.job_id, 3)
    spans = lab.wait_for_whole_trace(first.trace_id)
    again = lab.send_spans(reply.job_id)
    assert (first.parent_id, again[0].parent_id) == ("", first.span_id), draw(spans)
    assert {second.parent_id, third.parent_id} == {again[0].span_id}, draw(spans)
    assert [[link.span_id for link in run.links] for run in (first, second, third)] == [
        [],
        [first.span_id],
        [second.span_id],
    ]


@pytest.mark.parametrize("protocol", [1, 2])
def test_both_message_protocols_carry_the_context(lab: CeleryLab, protocol: int) -> None:
    """task_protocol=1 has neither the job's id nor its name in the headers."""
    reply = lab.client.call("raw_message", "ok", {}, protocol)
    run, send = lab.process_span(reply.job_id), lab.send_span(reply.job_id)
    assert (send.parent_id, run.parent_id) == (reply.span_id, send.span_id)
    assert send.name == f"send {APP}.ok"
    assert run.attributes[semconv.TASK_WAIT] >= 0


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("nested", [False, True])
def test_headers_of_foreign_clients_are_read_in_either_place(
    lab: CeleryLab, protocol: int, *, nested: bool
) -> None:
    """Old peers write their headers once more below ``headers`` (celery #4875)."""
    headers: Mapping[str, Any] = {"traceparent": PARENT}
    reply = lab.client.call("raw", "ok", {"headers": headers} if nested else headers, protocol=protocol)
    run = lab.process_span(reply.job_id)
    assert (run.trace_id, run.parent_id) == (f"{0xFACE:032x}", f"{0xBEEF:016x}")


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "garbage"},
        {"traceparent": HUGE},
        {"traceparent": PARENT + HUGE},
        {"traceparent": 17},
        {"traceparent": [PARENT]},
        {"traceparent": {"a": 1}},
        {"traceparent": f"00-{0:032x}-{0:016x}-01"},
        {"headers": "no dict"},
        {"headers": {"traceparent": 17}},
        {"_otel_taskqueue_serial": 10**9, "_otel_taskqueue_eager": "x"},
        {"taskqueue-previous": "garbage", "taskqueue-enqueued-at": "garbage"},
        {"taskqueue-previous": HUGE, "taskqueue-enqueued-at": "9" * 30, "taskqueue-attempt": HUGE},
        {"taskqueue-enqueued-at": "-5", "taskqueue-first-enqueued-at": "²"},
    ],
    ids=lambda headers: ",".join(f"{key}={str(value)[:12]}" for key, value in headers.items()),
)
def test_a_damaged_context_is_ignored_without_a_trace_of_damage(
    lab: CeleryLab, headers: Mapping[str, Any]
) -> None:
    """The job runs as ever, its span is the root of a trace of its own, and no log complains."""
    reply = lab.client.call("raw", "ok", headers)
    run = lab.process_span(reply.job_id)
    assert (run.parent_id, run.links, run.status) == ("", (), "UNSET")
    assert run.attributes[semconv.TASK_OUTCOME] == "success"
    assert HUGE[:9000] not in repr(run)


@pytest.mark.parametrize(
    "baggage", ["=,;;garbage", HUGE, ",".join(f"k{n}=v" for n in range(20000)), 17, ["a=b"]], ids=range(5)
)
def test_a_damaged_baggage_is_ignored_and_the_trace_goes_on(lab: CeleryLab, baggage: Any) -> None:
    """What can be read of the context is used."""
    reply = lab.client.call("raw", "ok", {"traceparent": PARENT, "baggage": baggage, "tracestate": HUGE})
    run = lab.process_span(reply.job_id)
    assert run.parent_id == f"{0xBEEF:016x}"
    assert lab.wait_for_note(reply.job_id)["baggage"] == {}


def test_no_complaint_of_ours_is_in_any_log_and_nothing_was_doubled(lab: CeleryLab) -> None:
    """Looked at after everything above, and after the stop."""
    stopped = lab.stop_worker()
    assert (stopped.returncode, stopped.killed) == (0, False), lab.explain()
    check_no_span_twice(lab)
    check_no_secrets(lab)
    assert lab.worker is not None
    for output in (lab.worker.output(), lab.client.process.output()):
        assert "the application is not affected" not in output
        assert "Traceback" not in output
    assert not any(span.scope == OFFICIAL for span in lab.receiver.spans() if span.service != "theirs")


def test_instrumented_by_hand_with_the_official_one_before_and_after_ours_takes_over(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Before ours, and after it in each child: nothing is doubled."""
    directory = tmp_path_factory.mktemp("by-hand")
    with running_lab(redis_broker(redis_server), directory, app="support.apps.celery_official") as lab:
        job = lab.enqueue("nested_publish")
        lab.process_span(job.id)
        lab.receiver.wait_for_spans(
            lambda span: span.trace_id == job.reply.trace_id and span.kind == "CONSUMER", 2
        )
        spans = lab.wait_for_whole_trace(job.reply.trace_id)
        assert {span.scope for span in spans} == {"web", OURS}, draw(spans)
        assert len(spans) == 5, draw(spans)
        audit(lab, lab.stop_worker())
        assert not any(span.scope == OFFICIAL for span in lab.receiver.spans())
