"""However a child or the worker ends: what was finished has arrived, each attempt once."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest

from otel_taskqueue import semconv
from support import procfs
from support.delivery import DeliveryHarness, StartDelivery, by_hand
from support.otlp import Span
from support.otlp.tree import assert_no_dangling_parents, draw
from support.wait import wait_for

#: Nothing leaves by the clock within a test: only what is handed over or flushed arrives.
LONG_DELAY = 60.0
JOBS = 10
STEPS = 3


def process_span(harness: DeliveryHarness, job_id: str) -> Span:
    """The only process span of a job."""
    spans = harness.process_spans(job_id)
    assert len(spans) == 1, harness.explain(job_id)
    return spans[0]


def check_all(harness: DeliveryHarness, ids: Sequence[str], steps: int = STEPS) -> None:
    """One process span for each job, with all its inner spans, and no loose end."""
    harness.wait_for_all(ids, timeout=5)
    for job_id in ids:
        inner = harness.inner(process_span(harness, job_id))
        assert sorted(span.name for span in inner) == [f"step {n}" for n in range(steps)]
    assert_no_dangling_parents(
        [span for span in harness.receiver.spans() if span.service == harness.worker_service]
        + [span for span in harness.receiver.spans() if span.service == harness.client_service]
    )


def test_a_killed_child_takes_nothing_along(start_delivery: StartDelivery) -> None:
    """Ten finished tasks, then SIGKILL: ten process spans, all inner spans, and the killed one."""
    worker = start_delivery(batch_delay=LONG_DELAY, concurrency=1)
    finished = worker.publish_many("steps", JOBS, STEPS)
    killed = worker.publish("kill_self", "SIGKILL")
    worker.wait_until_done([*finished, killed.id])
    worker.client.call("flush", request=None)
    worker.stop_and_read()
    check_all(worker, finished)
    span = process_span(worker, killed.id)
    assert span.attributes[semconv.TASK_OUTCOME] == "lost"
    assert span.attributes[semconv.EXIT_SIGNAL] == "SIGKILL"
    assert [inner.name for inner in worker.inner(span)] == ["before the kill"]


@pytest.mark.parametrize("argument", ["--max-tasks-per-child=1", "--max-memory-per-child=1"])
def test_recycled_children_take_nothing_along(start_delivery: StartDelivery, argument: str) -> None:
    """A child that ends after each task: ten of ten."""
    worker = start_delivery(batch_delay=LONG_DELAY, arguments=(argument,))
    ids = worker.publish_many("steps", JOBS, STEPS)
    worker.wait_until_done(ids)
    worker.client.call("flush", request=None)
    worker.stop_and_read()
    check_all(worker, ids)
    pids = {process_span(worker, job_id).attributes[semconv.PROCESS_PID] for job_id in ids}
    assert len(pids) == JOBS, pids


def test_a_warm_stop_right_after_a_task_loses_nothing(start_delivery: StartDelivery) -> None:
    """The worker is told to stop while the task runs."""
    worker = start_delivery(batch_delay=LONG_DELAY)
    ids = worker.publish_many("steps", JOBS, STEPS)
    last = worker.publish("sleep", 0.5)
    worker.wait_for_note(last.id)
    worker.client.call("flush", request=None)
    worker.stop_and_read()
    check_all(worker, ids)
    assert process_span(worker, last.id).attributes[semconv.TASK_OUTCOME] == "success"


def test_a_restart_by_sighup_loses_nothing(start_delivery: StartDelivery) -> None:
    """SIGHUP replaces the process by a new one: ten of ten from before, and one from after."""
    worker = start_delivery(batch_delay=LONG_DELAY)
    before = worker.publish_many("steps", JOBS, STEPS)
    worker.wait_until_done(before)
    assert worker.worker is not None
    worker.client.call("flush", request=None)
    worker.worker.send_signal(signal.SIGHUP)
    wait_for(
        lambda: worker.worker.output().count(" ready.") == 2,
        30,
        "the worker is ready again",
        worker.explain,
    )
    check_all(worker, before)
    after = worker.publish_many("steps", 1, STEPS)
    worker.wait_until_done(after)
    worker.client.call("flush", request=None)
    worker.stop_and_read()
    check_all(worker, [*before, *after])


def test_children_end_with_a_parent_that_was_killed(start_delivery: StartDelivery) -> None:
    """SIGKILL of the parent: its children are gone as fast as without us, and say nothing."""
    worker = start_delivery()
    job = worker.publish("sleep", 60)
    worker.wait_for_note(job.id)
    assert worker.worker is not None
    everybody = worker.worker.descendants()
    assert len(everybody) == 3
    os.kill(worker.worker.pid, signal.SIGKILL)
    wait_for(
        lambda: not any(procfs.is_alive(pid) for pid in everybody),
        5,
        "all children are gone",
        worker.worker.tail,
    )
    worker.check_quiet()


def test_a_grandchild_that_keeps_the_sockets_holds_nothing_up(start_delivery: StartDelivery) -> None:
    """A forked process lives on with all descriptors; later jobs and the stop do not notice."""
    worker = start_delivery(batch_delay=LONG_DELAY, arguments=("--max-tasks-per-child=1",))
    job = worker.publish("leave_a_grandchild", 30)
    grandchild = worker.wait_for_note(job.id, "grandchild")["grandchild"]
    later = worker.publish_many("steps", 3, STEPS)
    worker.wait_until_done([job.id, *later])
    worker.client.call("flush", request=None)
    assert procfs.is_alive(grandchild)
    stopped = worker.stop_worker()
    assert procfs.is_alive(grandchild) is False  # by the harness, which names it:
    assert [line.partition(":")[0] for line in stopped.left_behind] == [str(grandchild)]
    assert not stopped.killed
    check_all(worker, later)
    assert process_span(worker, job.id).attributes[semconv.TASK_OUTCOME] == "success"


def test_a_task_that_swallows_its_hard_limit_is_one_timeout(start_delivery: StartDelivery) -> None:
    """The child reports SUCCESS, the parent the limit: one span, ERROR, and nothing below it lost."""
    worker = start_delivery(batch_delay=LONG_DELAY, concurrency=1)
    job = worker.publish("swallow_hard_limit")
    worker.wait_until_done([job.id])
    worker.publish("ok")
    worker.client.call("flush", request=None)
    worker.stop_worker()
    span = process_span(worker, job.id)
    assert (span.status, span.attributes[semconv.TASK_OUTCOME]) == ("ERROR", "timeout")
    assert span.attributes[semconv.ERROR_TYPE] == "billiard.exceptions.TimeLimitExceeded"
    assert [inner.name for inner in worker.inner(span)] == ["going on"], draw(worker.receiver.spans())


def test_the_soft_limit_reaches_a_task_that_makes_spans_all_the_time(
    start_delivery: StartDelivery,
) -> None:
    """The limit may come while a span is handed over: it belongs to the task all the same."""
    worker = start_delivery()
    jobs = [worker.publish("spans_until_soft_limit") for _ in range(4)]
    worker.wait_until_done([job.id for job in jobs])
    by = [worker.wait_for_note(job.id, "stopped")["by"] for job in jobs]
    assert by == ["SoftTimeLimitExceeded"] * len(jobs)
    worker.wait_for_all([job.id for job in jobs])
    outcomes = [process_span(worker, job.id).attributes[semconv.TASK_OUTCOME] for job in jobs]
    assert outcomes == ["timeout"] * len(jobs)


@pytest.mark.parametrize("setup", [None, "early"])
def test_embedded_beat_delivers_by_itself(start_delivery: StartDelivery, setup: str | None) -> None:
    """Beat closes and reuses all descriptors, perhaps the exporter's: its spans arrive all the same."""
    tick = {"task": "support.apps.celery_app.ok", "schedule": 0.3}
    worker = start_delivery(
        batch_delay=LONG_DELAY,
        arguments=("-B", "-s", "schedule"),
        conf={"beat_schedule": {"tick": tick}},
        env=by_hand(setup) if setup else {},
        instrumented=setup is None,
    )
    assert worker.worker is not None
    worker.worker.wait_for_line(r"(?:[\s\S]* succeeded in ){5}")
    stopped = worker.stop_worker()
    assert not stopped.killed
    sent, run = (
        [
            span.attributes[semconv.MESSAGING_MESSAGE_ID]
            for span in worker.receiver.spans()
            if span.kind == kind and span.service == worker.worker_service
        ]
        for kind in ("PRODUCER", "CONSUMER")
    )
    assert len(run) >= 5
    assert len(set(run)) == len(run)
    assert set(run) <= set(sent), "beat's own spans are missing"
