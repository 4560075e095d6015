"""What a Celery worker says of itself by its metrics: is it up, how busy is it, how do its children end.

The exits by each reason: test_metrics_truth_celery.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from otel_taskqueue import meters, semconv
from support.harness import rabbit_broker, redis_broker
from support.otlp.series import ended_cleanly
from support.servers import RedisServer
from support.truth import TruthHarness, running_truth
from support.wait import wait_for

StartTruth = Callable[..., TruthHarness]
UP, SLOTS, USED = meters.WORKER_UP.name, meters.WORKER_SLOTS.name, meters.WORKER_SLOTS_USED.name
PREFETCHED, EXITS = meters.WORKER_PREFETCHED.name, meters.WORKER_EXITS.name


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartTruth]:
    """Start a worker for one test."""
    with ExitStack() as stack:

        def begin(pool: str = "prefork", broker: str = "redis", **options: object) -> TruthHarness:
            where = redis_broker(redis_server)
            if broker == "rabbitmq":
                where = rabbit_broker(request.getfixturevalue("rabbit_server"), redis_server)
            if broker == "filesystem":
                where = replace(where, system=broker, url="filesystem://")
            return stack.enter_context(running_truth(where, tmp_path, pool, **options))

        yield begin


def wait_for_value(worker: TruthHarness, name: str, value: float, **attributes: str) -> None:
    """Wait until a metric has this value."""
    wait_for(
        lambda: worker.series.value(name, **attributes) == value,
        15,
        f"{name} is {value}",
        lambda: f"{worker.series.value(name, **attributes)}\n{worker.explain()}",
    )


# --- up ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["TERM", "QUIT", "remote control", "soft shutdown"])
def test_a_stop_that_was_asked_for_says_so(start: StartTruth, how: str) -> None:
    """With a task in its middle: 0 once more, and then nothing."""
    conf = {"worker_soft_shutdown_timeout": 0.5} if how == "soft shutdown" else {}
    worker = start(conf=conf)
    worker.enqueue("tell", 1, 2)
    wait_for(lambda: worker.lines("told"), 10, "the task runs", worker.explain)
    wait_for_value(worker, UP, 1)
    assert worker.worker is not None
    if how == "remote control":
        worker.client.call("shut_down", worker.worker_name, request=None)
        wait_for(lambda: worker.worker and not worker.worker.is_running(), 15, "the end", worker.explain)
    else:
        number = signal.SIGTERM if how == "TERM" else signal.SIGQUIT
        assert not worker.worker.stop(number, timeout=20).killed
    assert ended_cleanly(worker.series.history(UP)), worker.series.history(UP)
    assert not worker.series.value(meters.ACTIVE.name)


def test_a_crash_leaves_the_worker_up(start: StartTruth) -> None:
    """kill -9 of the MainProcess: the series ends with 1."""
    worker = start()
    worker.enqueue("succeed", 3)
    worker.wait_for_runs(3)
    wait_for_value(worker, UP, 1)
    assert worker.worker is not None
    os.kill(worker.worker.pid, signal.SIGKILL)
    worker.worker.popen.wait(10)
    for pid in worker.worker.descendants():
        os.kill(pid, signal.SIGKILL)
    assert set(worker.series.history(UP)) == {1}


def test_an_error_that_ends_the_worker_is_a_crash(start: StartTruth) -> None:
    """The broker goes, and the worker was told not to connect again."""
    worker = start(conf={"broker_connection_retry": False, "broker_connection_max_retries": 0})
    wait_for_value(worker, UP, 1)
    worker.client.call("break_connections", request=None)
    assert worker.worker is not None
    wait_for(lambda: worker.worker and not worker.worker.is_running(), 20, "the end", worker.explain)
    assert set(worker.series.history(UP)) == {1}, worker.explain()


# --- slots -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_a_busy_worker_shows_its_slots_and_what_it_holds(start: StartTruth, pool: str) -> None:
    """Two slots, both in use; up to four times as many messages are fetched.

    A worker on gevent that waits for a free greenlet fetches no more.
    """
    worker = start(pool, concurrency=2)
    wait_for_value(worker, SLOTS, 2)
    assert worker.series.value(USED) == 0
    worker.enqueue("tell", 10, 4)
    wait_for_value(worker, USED, 2)
    task = {"taskqueue__task__name": "support.apps.truth_celery.tell"}
    wait_for_value(worker, meters.ACTIVE.name, 2, **task)
    wait_for_value(worker, PREFETCHED, 1 if pool == "gevent" else 6)
    wait_for(
        lambda: (worker.series.value(meters.ACTIVE_MAX_AGE.name, **task) or 0) > 1, 10, "an age over 1 s"
    )
    assert (worker.series.value(meters.ACTIVE_MAX_AGE.name, **task) or 0) < 5
    (oldest,) = worker.series.last(meters.ACTIVE_MAX_AGE.name)
    assert set(oldest.attributes) == {semconv.SYSTEM, semconv.TASK_NAME}


def test_a_task_in_a_solo_worker_is_active(start: StartTruth) -> None:
    """Its one slot is in use while the worker itself is busy."""
    worker = start("solo")
    worker.enqueue("tell", 1, 2)
    wait_for_value(worker, meters.ACTIVE.name, 1)
    assert worker.series.value(SLOTS) == 1
    assert worker.series.value(USED) == 1
    wait_for_value(worker, meters.ACTIVE.name, 0)
    wait_for_value(worker, USED, 0)


def test_slots_follow_the_pool(start: StartTruth) -> None:
    """pool_grow, pool_shrink, and autoscale."""
    worker = start(concurrency=2)
    for command, slots in (("pool_grow", 4), ("pool_shrink", 3)):
        n = abs(slots - (worker.series.value(SLOTS) or 2))
        assert worker.client.call("control", command, worker.worker_name, n=int(n), request=None).result
        wait_for_value(worker, SLOTS, slots)
    scaled = start(concurrency=1, arguments=("--autoscale", "3,1"))
    wait_for_value(scaled, SLOTS, 1)
    scaled.enqueue("tell", 6, 2)
    wait_for_value(scaled, SLOTS, 3)
    wait_for_value(scaled, USED, 3)


# --- children -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("children", [60, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_many_children_are_one_worker(start: StartTruth, children: int) -> None:
    """A child for each task: one series set, each attempt and each child counted once."""
    worker = start(concurrency=16, arguments=("--max-tasks-per-child", "1"))
    worker.enqueue("succeed", children)
    worker.wait_for_runs(children, 800)
    worker.stop_worker()
    series = worker.series
    assert len(series.instances) == 1
    assert series.by(meters.RUNS.name, semconv.TASK_OUTCOME) == {"success": children}
    assert series.count(meters.PROCESS_DURATION.name) == series.count(meters.CPU_TIME.name) == children
    exits = series.by(EXITS, semconv.EXIT_REASON)
    assert exits["recycled"] == children
    assert set(exits) <= {"recycled", "ok"}
    assert sum(exits.values()) == len(worker.lines("born"))


def test_a_hard_limit_is_counted_once(start: StartTruth) -> None:
    """Celery 5.7 reports it twice; on RabbitMQ as well."""
    worker = start(broker="rabbitmq")
    worker.enqueue("overrun", 3)
    worker.wait_for_runs(3)
    wait_for_value(worker, EXITS, 3, taskqueue__exit__reason="time_limit")
    worker.stop_worker()
    assert worker.series.by(meters.RUNS.name, semconv.TASK_OUTCOME) == {"timeout": 3}
    assert worker.series.by(EXITS, semconv.EXIT_REASON) == {"time_limit": 3, "ok": 2}


def test_the_children_of_a_blocking_pool_are_counted_too(start: StartTruth, tmp_path: Path) -> None:
    """Brokers that Celery cannot watch in an event loop (SQS, files) have another pool."""
    folders = {
        f"{kind}_folder{end}": str(tmp_path / kind)
        for kind, ends in (("data", ("_in", "_out")), ("control", ("",)))
        for end in ends
    }
    (tmp_path / "data").mkdir()
    options = {"broker_transport_options": folders}
    worker = start(broker="filesystem", conf=options, arguments=("--max-tasks-per-child", "2"))
    worker.enqueue("succeed", 3)
    worker.enqueue("die", 1, "SIGKILL")
    worker.enqueue("overrun", 1)
    worker.enqueue("succeed", 3)
    worker.wait_for_runs(8)
    wait_for_value(worker, EXITS, 1, taskqueue__exit__reason="time_limit")
    worker.stop_worker()
    outcomes = worker.series.by(meters.RUNS.name, semconv.TASK_OUTCOME)
    assert outcomes == {"success": 6, "lost": 1, "timeout": 1}
    exits = worker.series.by(EXITS, semconv.EXIT_REASON)
    assert sum(exits.values()) == len(worker.lines("born"))
    assert exits["time_limit"] == 1
    assert min(exits["SIGKILL"], exits["recycled"]) >= 1


def test_a_restarted_pool_has_new_children(start: StartTruth) -> None:
    """The old ones have ended by themselves."""
    worker = start(conf={"worker_pool_restarts": True})
    worker.enqueue("succeed", 4)
    worker.wait_for_runs(4)
    worker.client.call("control", "pool_restart", worker.worker_name, request=None)
    wait_for(lambda: len(worker.lines("born")) > 2, 15, "new children", worker.explain)
    worker.enqueue("succeed", 4)
    worker.wait_for_runs(8)
    worker.stop_worker()
    exits = worker.series.by(EXITS, semconv.EXIT_REASON)
    assert set(exits) == {"ok"}
    assert exits["ok"] == len(worker.lines("born")) > 2
