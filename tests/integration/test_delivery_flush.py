"""Where children cannot relay they flush within a deadline: the same spans arrive."""

from __future__ import annotations

import itertools

import pytest

from otel_taskqueue import semconv
from support.delivery import DeliveryHarness, StartDelivery, by_hand
from support.otlp import Behaviour
from support.otlp.tree import assert_no_dangling_parents

LONG_DELAY = 60.0
JOBS = 4
STEPS = 2
#: How a worker is started in each mode.
MODES = {
    "switched off": {"env": {"OTEL_PYTHON_TASKQUEUE_RELAY": "false"}},
    "spawned": {"pool": "spawn"},
    "an SDK with other private names": {"env": by_hand("renamed"), "instrumented": False},
    "everything set up in the child": {"env": by_hand("all on child start"), "instrumented": False},
    "the SDK set up in the child": {"env": by_hand("sdk on child start"), "instrumented": False},
}
#: Where the parent has an SDK that can report.
REPORTING = tuple(MODES)[:3]


def check(worker: DeliveryHarness, ids: list[str]) -> None:
    """One process span for each job, all inner spans, whole traces."""
    worker.wait_for_all(ids, timeout=2)
    for job_id in ids:
        (span,) = worker.process_spans(job_id)
        assert span.attributes[semconv.TASK_OUTCOME] == "success"
        assert span.attributes[semconv.PROCESS_PID] == worker.notes(job_id, "ran")[0]["pid"]
        assert len(worker.inner(span)) == STEPS
    assert_no_dangling_parents(worker.receiver.spans())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ending", ["recycled", "warm stop"])
def test_children_that_end_by_themselves_lose_nothing(
    start_delivery: StartDelivery, mode: str, ending: str
) -> None:
    """Recycled after two jobs, or stopped with a minute of batch delay left."""
    arguments = ("--max-tasks-per-child=2",) if ending == "recycled" else ()
    worker = start_delivery(batch_delay=LONG_DELAY, concurrency=1, arguments=arguments, **MODES[mode])
    ids = worker.publish_many("steps", JOBS, STEPS)
    worker.wait_until_done(ids)
    worker.client.call("flush", request=None)
    worker.stop_worker()
    worker.check_quiet()
    check(worker, ids)


@pytest.mark.parametrize("mode", REPORTING)
def test_a_killed_attempt_is_reported_once_by_the_parent(start_delivery: StartDelivery, mode: str) -> None:
    """Killed, stopped by its hard limit, revoked: one process span each, with the right end."""
    worker = start_delivery(concurrency=1, **MODES[mode])
    killed = worker.publish("kill_self")
    limited = worker.publish("hard_limit")
    worker.wait_until_done([killed.id, limited.id])
    fine = worker.publish("steps", 1)
    worker.wait_until_done([fine.id])
    worker.stop_worker()
    worker.wait_for_all([killed.id, limited.id, fine.id], timeout=2)
    ends = [
        worker.process_spans(job.id)[0].attributes[semconv.TASK_OUTCOME] for job in (killed, limited, fine)
    ]
    assert ends == ["lost", "timeout", "success"]


def test_a_dead_collector_holds_no_child_up_for_long(start_delivery: StartDelivery) -> None:
    """Without the relay a recycled child waits for its flush, but a second at most."""
    worker = start_delivery(
        batch_delay=LONG_DELAY,
        concurrency=1,
        arguments=("--max-tasks-per-child=1",),
        env={"OTEL_PYTHON_TASKQUEUE_RELAY": "false"},
    )
    worker.receiver.behave(Behaviour.HANGING)
    jobs = [worker.publish("steps", 1) for _ in range(3)]
    worker.wait_until_done([job.id for job in jobs])
    times = [worker.notes(job.id, "ran")[0]["time"] / 1e9 for job in jobs]
    between = [later - earlier for earlier, later in itertools.pairwise(times)]
    # A second is ours and one is billiard's; the SDK's own flush takes ten for each signal.
    assert max(between) < 8, between
