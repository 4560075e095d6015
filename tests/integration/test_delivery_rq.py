"""RQ: what a work-horse finished has arrived, however it or the worker ends."""

from __future__ import annotations

import os
import signal
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

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
#: What the promise allows (one second), and what a shared machine may add to a stop.
ALLOWED, NOISE = 1.0, 0.4
#: The shortest of a worker's stops counts; while that is too long there is one more, up to these.
MOST_STOPS = 4
#: The scheduler heeds a stop when it wakes, once a second: seconds since, when the stop is sent.
SINCE_AWAKE = (0.7, 0.9)
#: The lock that it renews whenever it is awake lives this long, in milliseconds.
LOCK_LIFE = 61_000
BURST = 100
ENOUGH = 0.95
#: A machine that has other work to do disturbs rounds: then it takes more of them.
ROUNDS, MOST_ROUNDS = 5, 20
#: `rq worker-pool`, which looks after its workers ten times a second instead of once: less is chance.
WAKEFUL_POOL = """
import sys, time, types
from rq import worker_pool
worker_pool.time = types.SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.1)))
from rq.cli import main
sys.argv[0] = "rq"
main()
"""
StartRQ = Callable[..., RQHarness]


class Worker(RQHarness):
    """As the room's, or two workers of a pool."""

    def worker_command(self) -> Sequence[str]:
        """The command line."""
        if self.pool != "worker-pool":
            return super().worker_command()
        return ["python", "-c", WAKEFUL_POOL, "worker-pool", "--url", self.broker.url, "-n", "2", self.queue]

    def ready_line(self) -> str:
        """Of each worker."""
        line = super().ready_line()
        return rf"(?s){line}.*{line}" if self.pool == "worker-pool" else line


@pytest.fixture
def start_rq(redis_server: RedisServer, receiver: Receiver, tmp_path: Path) -> Iterator[StartRQ]:
    """Start an RQ worker for one test."""
    started: list[RQHarness] = []

    def start(pool: str = "fork", *, to: Receiver | None = None, **options: Any) -> RQHarness:
        broker = redis_broker(redis_server)
        harness = Worker(broker, to or receiver, tmp_path, pool=pool, options=Options(**options))
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


def test_a_work_horse_imports_nothing_of_ours(start_rq: StartRQ) -> None:
    """Each job would pay for it: what they need is there before the fork."""
    worker = start_rq(env={"PYTHONPROFILEIMPORTTIME": "1"})
    first, second = (steps(worker, 1)[0] for _ in range(2))
    assert worker.worker is not None
    worker.worker.wait_for_line(rf"Job OK.*{second.id}")
    lines = worker.worker.output().partition(first.id)[2].partition(second.id)[2].splitlines()
    assert [line for line in lines if "import time:" in line and "otel_taskqueue" in line] == []


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


@pytest.mark.parametrize("pool", ["fork", "simple", "worker-pool"])
def test_a_worker_stops_at_most_a_second_later(start_rq: StartRQ, pool: str) -> None:
    """With its scheduler and a hanging collector, beside workers without telemetry, from the signal on."""
    bare: list[float] = []
    ours: list[float] = []
    with Receiver() as receiver:
        receiver.behave(Behaviour.HANGING)
        while len(bare) < MOST_STOPS and (not bare or min(ours) > min(bare) + ALLOWED + NOISE):
            bare.append(seconds_to_stop(start_rq(pool, instrumented=False)))
            ours.append(seconds_to_stop(start_rq(pool, to=receiver, batch_delay=LONG_DELAY)))
    print(pool, "bare", bare, "ours", ours)
    assert min(ours) <= min(bare) + ALLOWED + NOISE, (bare, ours)


def seconds_to_stop(worker: RQHarness) -> float:
    """After some jobs; each scheduler has slept as long when the stop is sent."""
    steps(worker, 4)
    with Redis.from_url(worker.broker.url) as redis:
        wait_for(lambda: SINCE_AWAKE[0] < since_awake(redis, worker) < SINCE_AWAKE[1], 10, "a good moment")
    stopped = worker.stop_worker()
    check_quiet(worker)
    assert (stopped.returncode, stopped.left_behind) == (0, ()), worker.explain()
    return round(stopped.seconds, 2)


def since_awake(redis: Redis, worker: RQHarness) -> float:
    """How many seconds ago the scheduler was awake."""
    left: Any = redis.pttl(f"rq:scheduler-lock:{worker.queue}")
    return (LOCK_LIFE - left) / 1000


def test_a_hanging_collector_does_not_slow_jobs_down(start_rq: StartRQ) -> None:
    """At least 95 % of the jobs per second with a healthy one; the workers take turns."""
    with Receiver() as stuck:
        stuck.behave(Behaviour.HANGING)
        healthy, sick = start_rq("simple"), start_rq("simple", to=stuck)
        shares: list[float] = []
        while len(shares) < MOST_ROUNDS and (len(shares) < ROUNDS or statistics.median(shares) < ENOUGH):
            first, second = (healthy, sick) if len(shares) % 2 else (sick, healthy)
            seconds = {worker: burst_seconds(worker) for worker in (first, second)}
            shares.append(round(seconds[healthy] / seconds[sick], 3))
    print(f"jobs per second, of those with a healthy collector: {shares}")
    assert statistics.median(shares) >= ENOUGH, shares


def burst_seconds(worker: RQHarness) -> float:
    """How long the worker takes for a burst of jobs that all wait already."""
    first = worker.publish("sleep", 0.5)
    last = worker.client.call("publish_many", ["inner_spans"] * BURST + ["ok"]).result[-1]
    ended = worker.wait_for_note(last)["time"]
    return (ended - worker.notes(first.id, "slept")[0]["time"]) / 1e9
