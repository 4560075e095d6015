"""What the metrics of Celery's attempts and messages say, one by one.

That every attempt is counted, whatever its end: test_metrics_truth_celery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from otel_taskqueue import meters, semconv
from otel_taskqueue.core.metrics import MOST_ERRORS
from support.harness import redis_broker
from support.servers import RedisServer, free_port
from support.truth import TruthHarness, running_truth
from support.wait import wait_for

StartTruth = Callable[..., TruthHarness]
MIB = 1024 * 1024
PREFIX = "support.apps.truth_celery."
OF_ATTEMPTS = (
    meters.PROCESS_DURATION,
    meters.WAIT_DURATION,
    meters.TOTAL_DURATION,
    meters.TASK_ATTEMPTS,
    meters.CPU_TIME,
    meters.MEMORY_PEAK,
    meters.MEMORY_GROWTH,
)


@pytest.fixture(scope="module")
def worker(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TruthHarness]:
    """A prefork worker on Redis; each test has tasks of its own."""
    with running_truth(redis_broker(redis_server), tmp_path_factory.mktemp("metrics")) as found:
        yield found


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[StartTruth]:
    """Start a worker for one test."""
    with ExitStack() as stack:
        yield lambda pool="prefork", **options: stack.enter_context(
            running_truth(redis_broker(redis_server), tmp_path, pool, **options)
        )


def ran(worker: TruthHarness, task: str, *args: Any, count: int = 1, runs: int = 0, **options: Any) -> str:
    """Enqueue jobs, wait until their attempts are counted; the task's name."""
    of_task = {"taskqueue__task__name": PREFIX + task}
    worker.enqueue(task, count, *args, **options)
    worker.wait_for_runs(runs or count, **of_task)
    wait_for(
        lambda: worker.series.count(meters.PROCESS_DURATION.name, **of_task) >= (runs or count),
        10,
        "durations",
        worker.explain,
    )
    return PREFIX + task


def measured(worker: TruthHarness, metric: meters.Metric, task: str) -> tuple[int, float]:
    """Count and sum of a histogram of a task."""
    series = worker.series
    found = {"taskqueue__task__name": task}
    return series.count(metric.name, **found), series.sum(metric.name, **found)


# --- what an attempt used --------------------------------------------------------------------------
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_processor_time_is_that_of_the_task(start: StartTruth, pool: str) -> None:
    """Two tasks at a time that use 0.3 s each, while others sleep."""
    worker = start(pool)
    worker.enqueue("nap", 2, 0.3)
    count, seconds = measured(worker, meters.CPU_TIME, ran(worker, "burn", 0.3, count=4))
    assert count == 4
    assert 1.2 <= seconds < 1.2 * 1.25
    assert measured(worker, meters.CPU_TIME, PREFIX + "nap")[1] < 0.1


def test_processor_time_of_greenlets_is_not_told(start: StartTruth) -> None:
    """They share one thread: what it used is nobody's own."""
    worker = start("gevent")
    ran(worker, "burn", 0.1)
    assert not worker.series.names & {metric.name for metric in OF_ATTEMPTS[-3:]}


def test_memory_is_that_of_the_attempt(start: StartTruth) -> None:
    """A peak that is gone again is a peak; what is kept is growth."""
    worker = start(concurrency=1)
    small = ran(worker, "succeed")
    _, before = measured(worker, meters.MEMORY_PEAK, small)
    _, grown = measured(worker, meters.MEMORY_GROWTH, small)
    assert 10 * MIB < before < 300 * MIB
    assert grown < 20 * MIB
    hog = ran(worker, "hog", 200)
    assert 200 * MIB < measured(worker, meters.MEMORY_PEAK, hog)[1] < before + 300 * MIB
    assert measured(worker, meters.MEMORY_GROWTH, hog)[1] < 100 * MIB
    keep = ran(worker, "keep", 64)
    assert 60 * MIB < measured(worker, meters.MEMORY_GROWTH, keep)[1] < 140 * MIB


# --- times -------------------------------------------------------------------------------------------
def test_the_total_is_that_of_all_attempts(worker: TruthHarness) -> None:
    """A retry after a second: its time is in the total, and in no attempt's."""
    task = ran(worker, "retry_by_hand", 1.0, count=2, runs=4)
    count, seconds = measured(worker, meters.TOTAL_DURATION, task)
    assert count == 2
    assert 2.0 <= seconds < 10
    assert measured(worker, meters.TASK_ATTEMPTS, task) == (2, 4.0)
    count, seconds = measured(worker, meters.PROCESS_DURATION, task)
    assert count == 4
    assert seconds < 1.0
    count, seconds = measured(worker, meters.WAIT_DURATION, task)
    assert count == 4
    assert seconds < 1.5


def test_a_wait_is_free_of_the_delay_that_was_asked_for(worker: TruthHarness) -> None:
    """The job was ready only after 1.5 s; the total has the delay."""
    task = ran(worker, "fail_as_expected", countdown=1.5)
    assert measured(worker, meters.WAIT_DURATION, task)[1] < 1.0
    assert measured(worker, meters.TOTAL_DURATION, task)[1] > 1.4  # Celery looks at the clock before us


def test_a_wait_for_a_free_slot_is_a_wait(start: StartTruth) -> None:
    """Three jobs of 0.5 s one after the other: two of them waited."""
    worker = start(concurrency=1)
    task = ran(worker, "nap", 0.5, count=3)
    assert 1.5 <= measured(worker, meters.WAIT_DURATION, task)[1] < 5


# --- exemplars ---------------------------------------------------------------------------------------
def test_each_histogram_leads_to_the_span(worker: TruthHarness) -> None:
    """The exemplars name the process span."""
    task = ran(worker, "tell")
    told = {tuple(line.split()[1:]) for line in worker.lines("told")}
    for metric in OF_ATTEMPTS:
        assert worker.series.exemplars(metric.name, taskqueue__task__name=task) == told, metric.name
    (span,) = worker.receiver.wait_for_spans(lambda span: span.name == f"process {task}")
    assert told == {(span.trace_id, span.span_id)}


# --- what is told, and what is not ----------------------------------------------------------------------
def test_an_excluded_task_has_no_metric(start: StartTruth) -> None:
    """Whatever becomes of it, and wherever it is enqueued."""
    excluded = {"OTEL_PYTHON_TASKQUEUE_EXCLUDED_TASKS": f"{PREFIX}fail,{PREFIX}die,{PREFIX}nap"}
    worker = start(env=excluded, client_env=excluded)
    worker.enqueue("nap", 1, 0.5)
    worker.enqueue("fail", 3)
    worker.enqueue("die", 1, "SIGKILL")
    ran(worker, "succeed", count=2)
    worker.stop_worker()
    worker.client.call("flush_metrics", request=None)
    for series in (worker.series, worker.client_series):
        names = {point.attributes.get(semconv.TASK_NAME) for point in series.points}
        assert names <= {PREFIX + "succeed", None}


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_PYTHON_TASKQUEUE_RELAY": "false"},
        {"OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=lambda env: "=".join(next(iter(env.items()))),
)
def test_the_counts_are_true_without_spans(start: StartTruth, env: dict[str, str]) -> None:
    """Sampled off, not relayed, not exported: every outcome is the child's or the parent's truth."""
    worker = start(env=env, client_env=env)
    for task, count, *args in (
        ("succeed", 20),
        ("fail", 5),
        ("fail_as_expected", 5),
        ("retry_by_hand", 3),
        ("ignore", 3),
        ("reject_for_good", 3),
        ("overrun", 1),
        ("overrun_softly", 1),
        ("die", 1, "SIGKILL"),
    ):
        worker.enqueue(task, count, *args)
    worker.wait_for_runs(45)
    worker.stop_worker()
    series = worker.series
    assert len(series.instances) == 1
    assert series.by(meters.RUNS.name, semconv.TASK_OUTCOME) == Counter(
        success=23, failure=10, retry=3, ignored=3, rejected=3, timeout=2, lost=1
    )
    killed = 2
    assert series.count(meters.CPU_TIME.name) == series.count(meters.MEMORY_PEAK.name) == 45 - killed
    for metric in (meters.PROCESS_DURATION, meters.WAIT_DURATION):
        assert series.count(metric.name) == 45
    assert series.count(meters.TASK_ATTEMPTS.name) == series.count(meters.TOTAL_DURATION.name) == 39


@pytest.mark.parametrize("pool", ["threads", "gevent"])
def test_a_task_that_exits_where_no_process_ends_is_lost_all_the_same(start: StartTruth, pool: str) -> None:
    """Celery has no word on it in these pools: neither success nor failure."""
    worker = start(pool)
    worker.enqueue("system_exit", 2)
    worker.enqueue("succeed", 2)
    series = worker.wait_for_runs(4)
    expected = {("success", None): 2, ("lost", "SystemExit"): 2}
    assert series.by(meters.RUNS.name, semconv.TASK_OUTCOME, semconv.ERROR_TYPE) == expected
    assert series.count(meters.PROCESS_DURATION.name) == 4


def test_more_kinds_of_errors_than_the_bound_are_other(start: StartTruth) -> None:
    """70 different exceptions: 64 by name, the rest as one."""
    worker = start("solo")
    for number in range(1, 71):
        worker.enqueue("fail", 1, number)
    worker.wait_for_runs(70)
    errors = worker.series.by(meters.RUNS.name, semconv.ERROR_TYPE)
    assert len(errors) == MOST_ERRORS + 1
    assert errors["_OTHER"] == 70 - MOST_ERRORS


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_runs_eagerly_within_a_task_is_no_attempt(start: StartTruth, pool: str) -> None:
    """No message was taken for it."""
    worker = start(pool)
    ran(worker, "run_eagerly", count=2)
    worker.stop_worker()
    assert worker.series.by(meters.RUNS.name, semconv.TASK_NAME) == {f"{PREFIX}run_eagerly": 2}
    assert worker.series.count(meters.PROCESS_DURATION.name) == 2
    assert worker.series.by(meters.RUNS.name, semconv.TASK_OUTCOME) == {"success": 2}


# --- the producer ------------------------------------------------------------------------------------------
def test_each_message_that_was_sent_is_counted(worker: TruthHarness) -> None:
    """And how long it took."""
    task = ran(worker, "ignore", count=7)
    worker.client.call("flush_metrics", request=None)
    series = worker.client_series
    (sent,) = series.last(meters.SENT.name, taskqueue__task__name=task)
    assert sent.value == 7
    assert sent.attributes == {
        semconv.MESSAGING_SYSTEM: "redis",
        semconv.SYSTEM: "celery",
        semconv.MESSAGING_DESTINATION_NAME: worker.queue,
        semconv.TASK_NAME: task,
        semconv.MESSAGING_OPERATION_NAME: "send",
    }
    (took,) = series.last(meters.SEND_DURATION.name, taskqueue__task__name=task)
    assert took.count == 7
    assert 0 < took.sum < 5
    assert took.attributes == {**sent.attributes, semconv.MESSAGING_OPERATION_TYPE: "send"}
    sends = worker.receiver.wait_for_spans(lambda span: span.name == f"send {task}", 7)
    named = series.exemplars(meters.SEND_DURATION.name, taskqueue__task__name=task)
    assert named
    assert named <= {(span.trace_id, span.span_id) for span in sends}


def test_a_message_that_could_not_be_sent_says_why(worker: TruthHarness) -> None:
    """Nobody listens there."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    reply = worker.client.call("enqueue_to", url, request=None)
    assert reply.error is not None
    worker.client.call("flush_metrics", request=None)
    error = {"error__type": "kombu.exceptions.OperationalError"}
    (sent,) = worker.client_series.last(meters.SENT.name, **error)
    assert sent.value == 1
    assert worker.client_series.count(meters.SEND_DURATION.name, **error) == 1


def test_a_retry_and_the_next_link_of_a_chain_are_sent_by_the_worker(worker: TruthHarness) -> None:
    """What a child enqueues is in the worker's one series set."""
    task = ran(worker, "retry_and_fail", count=2, runs=6)
    assert worker.series.value(meters.SENT.name, taskqueue__task__name=task) == 4
    link = {"task": f"{PREFIX}ignore", "args": [], "kwargs": {}, "options": {}, "immutable": True}
    worker.enqueue("succeed", 2, chain=[link])
    wait_for(
        lambda: worker.series.value(meters.SENT.name, taskqueue__task__name=link["task"]) == 2,
        10,
        "two links that were sent",
        worker.explain,
    )
    assert len(worker.series.instances) == 1
