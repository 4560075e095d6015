"""The ends of an RQ attempt which only RQ has: callbacks, shutdowns, maintenance, broken payloads."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from otel_taskqueue import semconv
from support.harness import redis_broker
from support.otlp import Span
from support.otlp.tree import draw
from support.rq_lab import RQLab, running_lab
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("rq-ends")
NEVER = 60.0  # seconds: the SDK's batch is not sent by itself within a test


@pytest.fixture(scope="module")
def rq(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RQLab]:
    """A forking worker for the tests that leave it as they found it."""
    with running_lab(redis_broker(redis_server), tmp_path_factory.mktemp("rq-ends")) as lab:
        yield lab


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Callable[..., RQLab]]:
    """Start a worker which the test may kill."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            running_lab(redis_broker(redis_server), tmp_path, **options)
        )


def outcome(span: Span) -> tuple[str, str]:
    """Outcome and status of an attempt."""
    return span.attributes[semconv.TASK_OUTCOME], span.status


def is_below(spans: list[Span], name: str, parent: Span) -> bool:
    """Whether the only span of that name is a child of ``parent``."""
    found = [span for span in spans if span.name == name]
    return len(found) == 1 and found[0].parent_id == parent.span_id


# --- callbacks --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("case", "callback", "ends"),
    [("ok", "on_success", ("success", "UNSET")), ("fail", "on_failure", ("failure", "ERROR"))],
)
def test_a_callbacks_spans_are_below_the_attempt(
    rq: RQLab, case: str, callback: str, ends: tuple[str, str]
) -> None:
    """on_success and on_failure run in the work-horse."""
    job = rq.publish(case, **{callback: callback})
    attempt = rq.exactly(job.id, 1)[0]
    assert outcome(attempt) == ends
    assert is_below(rq.wait_for_whole_trace(job.reply.trace_id), callback, attempt)


def test_the_stopped_callback_is_below_the_attempt_that_was_stopped(rq: RQLab) -> None:
    """It runs in the parent, when the work-horse is dead."""
    job = rq.publish("sleep", 30, on_stopped="on_stopped")
    rq.wait_for_note(job.id)
    rq.interrupt(job.id)
    attempt = rq.exactly(job.id, 1)[0]
    assert outcome(attempt) == ("revoked", "UNSET")
    assert attempt.attributes[semconv.EXIT_SIGNAL] == "SIGKILL"
    assert is_below(rq.wait_for_whole_trace(job.reply.trace_id), "on_stopped", attempt)
    assert rq.notes(job.id, "on_stopped")[0]["span_id"] == attempt.span_id


def test_a_callbacks_own_redis_calls_are_there(rq: RQLab) -> None:
    """RQ's are not."""
    job_id = rq.client.call("enqueue_callback", "ok", "use_redis_in_callback").job_id
    attempt = rq.exactly(job_id, 1)[0]
    spans = rq.wait_for_whole_trace(attempt.trace_id)
    inside = [span.name for span in spans if span.start > attempt.start]
    assert sorted(inside) == ["GET", "callback"], draw(spans)


def test_a_success_callback_that_raises_makes_the_attempt_a_failure(rq: RQLab) -> None:
    """As RQ has it."""
    job_id = rq.client.call("enqueue_callback", "ok", "fail_in_callback").job_id
    attempt = rq.exactly(job_id, 1)[0]
    assert outcome(attempt) == ("failure", "ERROR")
    assert attempt.attributes[semconv.ERROR_TYPE] == "support.apps.errors.OrderError"


@pytest.mark.parametrize(
    ("callback", "ended"),
    [("leave_in_callback", (semconv.EXIT_CODE, 9)), ("kill_in_callback", (semconv.EXIT_SIGNAL, "SIGKILL"))],
)
def test_a_work_horse_that_dies_in_a_callback_is_lost(
    rq: RQLab, callback: str, ended: tuple[str, object]
) -> None:
    """The job's function had returned, but nothing was stored: RQ calls it failed."""
    if callback == "leave_in_callback":
        job_id = rq.publish("ok", on_success=callback).id
    else:
        job_id = rq.client.call("enqueue_callback", "ok", callback).job_id
    attempt = rq.exactly(job_id, 1)[0]
    assert outcome(attempt) == ("lost", "ERROR")
    assert attempt.attributes[ended[0]] == ended[1]
    assert rq.client.call("state", job_id).result == "failed"


# --- payloads ---------------------------------------------------------------------------------
def test_a_payload_that_nobody_can_read_is_a_failure_and_the_worker_goes_on(rq: RQLab) -> None:
    """The parent never reads it; its name comes from the carrier."""
    rq.publish("sleep", 0.3)  # time to corrupt the next one
    job = rq.publish("ok")
    rq.client.call("corrupt", job.id)
    attempt = rq.exactly(job.id, 1)[0]
    assert attempt.name == "process support.apps.rq_jobs.ok"
    assert outcome(attempt) == ("failure", "ERROR")
    assert attempt.attributes[semconv.ERROR_TYPE] == "rq.exceptions.DeserializationError"
    later = rq.publish("ok")
    assert outcome(rq.exactly(later.id, 1)[0]) == ("success", "UNSET")
    assert rq.worker is not None
    assert rq.notes(later.id, "ran")[0]["ppid"] == rq.worker.pid


def test_no_argument_leaves_with_rqs_own_log_lines(rq: RQLab) -> None:
    """They have the call in their text, and the arguments of a failed job in their attributes."""
    jobs = [rq.publish("ok", "mine-alone"), rq.publish("fail_times", 9, description="told")]
    secret = rq.publish("add", "mine-alone", "and-mine")  # fails: these are no numbers
    for job in (*jobs, secret):
        rq.exactly(job.id, 1)
    wait_for(
        lambda: any("exception raised" in str(line.body) for line in rq.receiver.logs()),
        10,
        "RQ's line about the failed job",
        lambda: repr(rq.receiver.logs()),
    )
    shipped = [line for line in rq.receiver.logs() if line.scope.startswith("rq.")]
    assert any("support.apps.rq_jobs.ok(…)" in str(line.body) for line in shipped)
    assert [line for line in shipped if "mine-alone" in repr(line)] == []
    assert rq.worker is not None
    assert "support.apps.rq_jobs.ok('mine-alone')" in rq.worker.output()


# --- what a killed work-horse leaves ----------------------------------------------------------
def test_what_was_finished_before_the_kill_arrives(rq: RQLab) -> None:
    """Inner spans keep their parent."""
    job = rq.publish("kill_self")
    attempt = rq.exactly(job.id, 1)[0]
    assert is_below(rq.wait_for_whole_trace(job.reply.trace_id), "before the kill", attempt)


def test_a_grandchild_that_keeps_everything_open_delays_nothing(rq: RQLab) -> None:
    """The parent reads until the work-horse is reaped, not until the socket closes."""
    job = rq.publish("leave_a_grandchild", 20)
    started = time.monotonic()
    attempt = rq.exactly(job.id, 1)[0]
    assert outcome(attempt)[0] == "success"
    assert time.monotonic() - started < 10


# --- the worker stops -------------------------------------------------------------------------
def test_a_warm_stop_right_after_a_job_loses_nothing(start: Callable[..., RQLab]) -> None:
    """Although the SDK's batch would have waited for a minute."""
    rq = start(batch_delay=NEVER)
    jobs = [rq.publish("inner_spans") for _ in range(3)]
    for job in jobs:
        rq.client.call("wait_for_state", job.id, ["finished"])
    stopped = rq.stop_worker()
    assert (stopped.returncode, stopped.killed) == (0, False)
    for job in jobs:
        (attempt,) = rq.process_spans(job.id)
        inner = [span for span in rq.receiver.trace(attempt.trace_id) if span.name.startswith("step")]
        assert [span.parent_id for span in inner] == [attempt.span_id] * 3


def test_a_job_in_flight_at_a_warm_stop_is_finished(start: Callable[..., RQLab]) -> None:
    """TERM: the worker waits for it."""
    rq = start(batch_delay=NEVER)
    job = rq.publish("sleep", 1.0)
    rq.wait_for_note(job.id)
    stopped = rq.stop_worker()
    assert stopped.returncode == 0
    (attempt,) = rq.process_spans(job.id)
    assert outcome(attempt) == ("success", "UNSET")


def test_a_job_in_flight_at_a_cold_stop_is_lost_and_told_once(start: Callable[..., RQLab]) -> None:
    """A second TERM: the work-horse is killed; the maintenance that finds the job knows it was told."""
    rq = start(batch_delay=NEVER)
    job = rq.publish("sleep", 30)
    rq.wait_for_note(job.id)
    assert rq.worker is not None
    rq.worker.send_signal(signal.SIGTERM)
    rq.worker.wait_for_line("warm shut down requested|stopping after current")
    time.sleep(1.2)  # RQ takes two signals within a second for one
    rq.worker.send_signal(signal.SIGTERM)
    rq.worker.wait(15)
    (attempt,) = rq.process_spans(job.id)
    assert outcome(attempt) == ("lost", "ERROR")
    assert attempt.attributes[semconv.EXIT_SIGNAL] == "SIGKILL"
    assert attempt.status_message == "cold shutdown of the worker"
    rq.client.call("forget_worker", rq.worker_name, job.id)
    rq.client.call("maintain")
    assert rq.client.call("state", job.id).result == "failed"
    rq.client.call("flush")
    assert len(rq.process_spans(job.id)) == 1, rq.explain(job.id)


# --- maintenance ------------------------------------------------------------------------------
def kill_all(rq: RQLab) -> None:
    """The machine of the worker loses its power."""
    assert rq.worker is not None
    for pid in rq.worker.descendants():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not rq.worker.descendants(), 10, "all are dead", rq.worker.tail)


@pytest.mark.parametrize("retries", [0, 1])
def test_an_abandoned_job_is_reported_once_by_whoever_finds_it(
    start: Callable[..., RQLab], retries: int
) -> None:
    """RQ's maintenance: one attempt lost, and a retry below it when one is left."""
    rq = start()
    job = rq.publish("sleep", 30, **({"retry": {"max": 1}} if retries else {}))
    rq.wait_for_note(job.id)
    kill_all(rq)
    rq.client.call("forget_worker", rq.worker_name, job.id)
    rq.client.call("maintain")
    rq.client.call("maintain")
    (attempt,) = rq.receiver.wait_for_spans(
        lambda span: span.kind == "CONSUMER" and span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == job.id
    )
    assert outcome(attempt) == ("lost", "ERROR")
    assert attempt.attributes[semconv.ERROR_TYPE] == "rq.exceptions.AbandonedJobError"
    assert attempt.attributes[semconv.WORKER_NAME] == rq.worker_name
    assert (attempt.trace_id, attempt.attributes[semconv.TASK_ATTEMPT]) == (job.reply.trace_id, 1)
    assert len(attempt.named_events("exception")) == 1 - retries
    assert len(attempt.named_events(semconv.EVENT_RETRY)) == retries
    first, *again = rq.send_spans(job.id)
    assert attempt.parent_id == first.span_id
    assert [span.parent_id for span in again] == [attempt.span_id] * retries


def test_a_job_lost_between_queue_and_worker_is_reported(rq: RQLab) -> None:
    """A worker took it from the queue and died before it said so."""
    sleeping = rq.publish("sleep", 3)
    rq.wait_for_note(sleeping.id)
    job = rq.publish("ok")
    rq.client.call("lose_between_queue_and_worker", job.id)
    rq.client.call("maintain")
    (attempt,) = rq.exactly(job.id, 1)
    assert outcome(attempt) == ("lost", "ERROR")
    assert attempt.attributes[semconv.ERROR_TYPE] == "lost"  # no exception, no signal, no exit code
    assert attempt.attributes[semconv.FAILURE_CATEGORY] == "killed"
    assert rq.client.call("state", job.id).result == "failed"


# --- the collector is away --------------------------------------------------------------------
def test_a_dead_collector_delays_neither_jobs_nor_the_stop(start: Callable[..., RQLab]) -> None:
    """Five jobs and a stop, as without us."""
    rq = start(env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    started = time.monotonic()
    jobs = [rq.publish("inner_spans") for _ in range(5)]
    for job in jobs:
        rq.client.call("wait_for_state", job.id, ["finished"])
    assert time.monotonic() - started < 8
    stopped = rq.stop_worker()
    assert stopped.returncode == 0
    # The scheduler's process and the worker's end one after the other; the SDK alone takes 12 s and more.
    assert stopped.seconds < 6, rq.explain()
