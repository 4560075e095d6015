"""RQ: what a work-horse finished has arrived, however it or the worker ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_taskqueue import semconv
from support import procfs
from support.harness import Job, Options, redis_broker
from support.otlp import Behaviour, Receiver, Span
from support.otlp.tree import assert_no_dangling_parents
from support.rq_harness import RQHarness
from support.servers import RedisServer
from support.wait import wait_for

LONG_DELAY = 60.0
JOBS = 6
STEPS = 2
ALLOWED, NOISE = 1.0, 0.4
StartRQ = Callable[..., RQHarness]


@pytest.fixture
def start_rq(redis_server: RedisServer, receiver: Receiver, tmp_path: Path) -> Iterator[StartRQ]:
    """Start an RQ worker for one test."""
    started: list[RQHarness] = []

    def start(pool: str = "fork", *, to: Receiver | None = None, **options: Any) -> RQHarness:
        broker = redis_broker(redis_server)
        harness = RQHarness(broker, to or receiver, tmp_path, pool=pool, options=Options(**options))
        started.append(harness)
        harness.start()
        return harness

    yield start
    for harness in started:
        harness.stop()


def steps(worker: RQHarness, count: int = JOBS) -> list[Job]:
    """Jobs with inner spans, done."""
    jobs = [worker.publish("inner_spans", STEPS) for _ in range(count)]
    for job in jobs:
        assert worker.client.call("wait_for_state", job.id, ["finished"]).result == "finished"
    return jobs


def check_quiet(worker: RQHarness) -> None:
    """Nothing of ours has failed in the worker's log."""
    assert worker.worker is not None
    output = worker.worker.output()
    assert "telemetry of" not in output, output
    assert "otel_taskqueue/" not in output, output


def check(worker: RQHarness, jobs: Sequence[Job]) -> None:
    """One process span and all inner spans for each job, from the process that ran it."""
    for job in jobs:
        spans = worker.wait_for_attempts(job.id, 1, timeout=3)
        assert len(spans) == 1, worker.explain(job.id)
        assert spans[0].attributes[semconv.TASK_OUTCOME] == "success"
        assert spans[0].attributes[semconv.PROCESS_PID] == worker.notes(job.id, "ran")[0]["pid"]
        assert len(below(worker, spans[0])) == STEPS
    assert_no_dangling_parents(worker.receiver.spans())


def below(worker: RQHarness, span: Span) -> list[Span]:
    """The spans inside a job."""
    return [other for other in worker.receiver.spans() if other.parent_id == span.span_id]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_killed_and_finished_work_horses_lose_nothing(start_rq: StartRQ, protocol: str) -> None:
    """A minute of batch delay, finished jobs, a killed one, a warm stop: all of them arrive."""
    with Receiver(protocol) as receiver:
        worker = start_rq(to=receiver, batch_delay=LONG_DELAY)
        jobs = steps(worker)
        killed = worker.publish("kill_self")
        assert worker.client.call("wait_for_state", killed.id, ["failed"]).result == "failed"
        worker.client.call("flush", request=None)
        assert not worker.stop_worker().killed
        check_quiet(worker)
        check(worker, jobs)
        (span,) = worker.process_spans(killed.id)
        assert span.attributes[semconv.TASK_OUTCOME] == "lost"
        assert span.attributes[semconv.EXIT_SIGNAL] == "SIGKILL"
        assert [inner.name for inner in below(worker, span)] == ["before the kill"]


@pytest.mark.parametrize("pool", ["fork", "spawn"])
def test_the_bounded_flush(start_rq: StartRQ, pool: str) -> None:
    """Without the relay each work-horse flushes before it ends; the parent reports a killed one."""
    env = {"OTEL_PYTHON_TASKQUEUE_RELAY": "false"} if pool == "fork" else {}
    worker = start_rq(pool, env=env)
    jobs = steps(worker, 2)
    killed = worker.publish("kill_self")
    assert worker.client.call("wait_for_state", killed.id, ["failed"]).result == "failed"
    worker.client.call("flush", request=None)
    assert not worker.stop_worker().killed
    check_quiet(worker)
    check(worker, jobs)
    (span,) = worker.process_spans(killed.id)
    assert span.attributes[semconv.TASK_OUTCOME] == "lost"


def test_a_grandchild_that_keeps_the_sockets_holds_nothing_up(start_rq: StartRQ) -> None:
    """A process that a job left behind: later jobs do not notice."""
    worker = start_rq(batch_delay=LONG_DELAY)
    job = worker.publish("leave_a_grandchild", 30)
    worker.wait_for_note(job.id)
    later = steps(worker, 2)
    worker.client.call("flush", request=None)
    stopped = worker.stop_worker()
    assert not stopped.killed
    assert len(stopped.left_behind) == 1
    check(worker, later)


def test_a_work_horse_outlives_its_parent_quietly(start_rq: StartRQ) -> None:
    """SIGKILL of the worker: the job goes on to its end as it would without us."""
    worker = start_rq()
    job = worker.publish("sleep", 2)
    horse = worker.wait_for_note(job.id)["pid"]
    assert worker.worker is not None
    os.kill(worker.worker.pid, signal.SIGKILL)
    worker.wait_for_note(job.id, "slept")
    wait_for(lambda: not procfs.is_alive(horse), 5, "the work-horse is gone")
    check_quiet(worker)


def test_a_hanging_collector_delays_neither_jobs_nor_stop(start_rq: StartRQ) -> None:
    """Beside workers without telemetry, in the same run.

    The shortest stop of three: RQ itself waits a second for its pubsub thread, now and then.
    """
    with Receiver() as receiver:
        receiver.behave(Behaviour.HANGING)
        without, with_us = [], []
        for _ in range(3):
            without.append(seconds_to_stop(start_rq(instrumented=False)))
            with_us.append(seconds_to_stop(start_rq(to=receiver)))
        print("bare", [f"{end:.2f} s" for end in without], "ours", [f"{end:.2f} s" for end in with_us])
        assert min(with_us) <= min(without) + ALLOWED + NOISE, (without, with_us)


def seconds_to_stop(worker: RQHarness) -> float:
    """After some jobs, from when its scheduler, which sleeps up to a second, heeds the stop."""
    steps(worker, 4)
    assert worker.worker is not None
    worker.worker.send_signal(signal.SIGTERM)
    worker.worker.wait_for_line("Scheduler stopping")
    heeded = time.monotonic()
    assert worker.worker.wait(20) == 0, worker.worker.tail()
    return time.monotonic() - heeded
