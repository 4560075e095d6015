"""What each metric of RQ's attempts, of its workers and of its clients says.

Counts of every outcome, and exits by reason: test_metrics_truth_rq.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from otel_taskqueue import meters, semconv
from support.harness import redis_broker
from support.otlp import Span
from support.otlp.series import ended_cleanly
from support.rq_lab import since
from support.servers import RedisServer
from support.truth_rq import JOBS, POOL, RQTruth, running_truth_rq
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("metrics-rq")
Start = Callable[..., RQTruth]
UP, USED = meters.WORKER_UP.name, meters.WORKER_SLOTS_USED.name
ACTIVE, MAX_AGE = meters.ACTIVE.name, meters.ACTIVE_MAX_AGE.name
RUNS, EXITS, SENT = meters.RUNS.name, meters.WORKER_EXITS.name, meters.SENT.name
CPU, PEAK, GROWTH = meters.CPU_TIME.name, meters.MEMORY_PEAK.name, meters.MEMORY_GROWTH.name
WAIT, TOTAL = meters.WAIT_DURATION.name, meters.TOTAL_DURATION.name
MEGABYTE = 1 << 20
NO_RELAY = {"OTEL_PYTHON_TASKQUEUE_RELAY": "false"}
#: An exporter is told once a minute, or at the end.
SELDOM = {"OTEL_METRIC_EXPORT_INTERVAL": "60000"}


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """Start workers for one test."""
    with ExitStack() as stack:
        yield lambda pool="fork", **options: stack.enter_context(
            running_truth_rq(redis_broker(redis_server), tmp_path, pool, **options)
        )


def process_span(workers: RQTruth, job_id: str) -> Span:
    """The one attempt of a job, when it has arrived."""
    wait_for(lambda: workers.process_spans(job_id), 15, f"the span of {job_id}", workers.explain)
    (found,) = workers.process_spans(job_id)
    return found


def outcomes(workers: RQTruth) -> dict[tuple[str, str | None], int]:
    """Attempts by outcome and error."""
    return dict(workers.series.by(RUNS, semconv.TASK_OUTCOME, semconv.ERROR_TYPE))


def kill(workers: RQTruth) -> None:
    """Kill -9 the worker and what it has started."""
    assert workers.worker is not None
    below = workers.worker.descendants()
    os.kill(workers.worker.pid, signal.SIGKILL)
    workers.worker.popen.wait(10)
    for pid in below:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# --- what an attempt used ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("pool", "env"),
    [("fork", {}), ("fork", NO_RELAY), pytest.param("spawn", {}, marks=since(2, 3))],
    ids=["fork", "fork without relay", "spawn"],
)
@pytest.mark.parametrize("case", ["burn", "burn_and_die"])
def test_what_a_work_horse_used_is_known_also_when_it_was_killed(
    start: Start, pool: str, env: dict[str, str], case: str
) -> None:
    """0.3 s of a processor and 200 MB, by wait4 of the worker; on the span of a killed one as well."""
    workers = start(pool, env=env)
    (job,) = workers.enqueue(case, 1, 0.3, 200)
    series = workers.wait_for_runs(1)
    wait_for(lambda: workers.series.count(PEAK), 5, "its memory", workers.explain)
    series = workers.series
    assert (series.count(CPU), series.count(PEAK)) == (1, 1)
    assert 0.3 <= series.sum(CPU) < 10
    assert 200 * MEGABYTE <= series.sum(PEAK) < 400 * MEGABYTE
    assert outcomes(workers) == {("lost", "SIGKILL") if case == "burn_and_die" else ("success", None): 1}
    assert series.count(GROWTH) == (case == "burn")
    span = process_span(workers, job)
    assert span.attributes[semconv.TASK_CPU_TIME] >= 0.3
    assert span.attributes[semconv.TASK_MEMORY_PEAK] >= 200 * MEGABYTE


def test_a_simple_worker_measures_each_of_its_jobs(start: Start) -> None:
    """The second job does nothing, and is not charged with what the first one used."""
    workers = start("simple")
    workers.enqueue_plan([("burn", 1, (0.3, 100), {}), ("succeed", 1, (), {})])
    workers.wait_for_runs(2)
    wait_for(lambda: workers.series.count(CPU) == 2, 5, "both", workers.explain)
    series = workers.series
    assert 0.3 <= series.sum(CPU, taskqueue__task__name=f"{JOBS}burn") < 3
    assert series.sum(CPU, taskqueue__task__name=f"{JOBS}succeed") < 0.3
    assert series.sum(GROWTH, taskqueue__task__name=f"{JOBS}succeed") < 50 * MEGABYTE


# --- up ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["TERM", "INT", "twice TERM"])
@pytest.mark.parametrize("pool", ["fork", "simple"])
def test_a_stop_that_was_asked_for_says_so(start: Start, pool: str, how: str) -> None:
    """With a job in its middle: 0 once more, and then nothing."""
    workers = start(pool)
    workers.enqueue("nap", 1, 30 if how == "twice TERM" else 2)
    workers.wait_for_value(USED, 1)
    workers.wait_for_value(UP, 1)
    assert workers.worker is not None
    if how == "twice TERM":
        workers.worker.send_signal(signal.SIGTERM)
        workers.worker.wait_for_line("warm shut down requested|stopping after current")
        time.sleep(1.2)  # RQ takes two signals within a second for one
    number = signal.SIGINT if how == "INT" else signal.SIGTERM
    assert not workers.worker.stop(number, timeout=20).killed
    assert ended_cleanly(workers.series.history(UP))
    assert workers.series.value(ACTIVE) == 0
    ended = ("lost", "SIGKILL") if pool == "fork" and how == "twice TERM" else None
    if ended is not None:
        assert outcomes(workers) == {ended: 1}


def test_the_end_of_a_burst_says_so(redis_server: RedisServer, tmp_path: Path) -> None:
    """The queue is empty, and the worker ends by itself: in its only export."""
    with running_truth_rq(
        redis_broker(redis_server), tmp_path, arguments=("--burst",), env=SELDOM
    ) as workers:
        assert workers.worker is not None
        workers.worker.wait(20)
        workers.receiver.clear()
        workers.enqueue("succeed", 3)
        workers.launch().wait(20)
        assert set(workers.series.history(UP)) == {0}
        assert outcomes(workers) == {("success", None): 3}


def test_a_crash_leaves_the_worker_up(start: Start) -> None:
    """kill -9 of the worker: the series ends with 1."""
    workers = start()
    workers.enqueue("succeed", 2)
    workers.wait_for_runs(2)
    workers.wait_for_value(UP, 1)
    kill(workers)
    assert set(workers.series.history(UP)) == {1}


def test_a_fault_that_ends_the_worker_is_a_crash(start: Start) -> None:
    """RQ says "unhandled exception, quitting", and returns as from a stop."""
    workers = start("clumsy")
    workers.wait_for_value(UP, 1)
    workers.enqueue("die")
    assert workers.worker is not None
    workers.worker.wait(60)
    assert "cannot handle that" in workers.worker.output()
    assert set(workers.series.history(UP)) == {1}, workers.explain()
    assert outcomes(workers) == {("lost", "SIGKILL"): 1}


def test_a_redis_that_goes_ends_the_worker_like_a_crash(redis_server: RedisServer, tmp_path: Path) -> None:
    """Redis goes while a job runs."""
    own = tmp_path / "redis"
    own.mkdir()
    server = RedisServer(own)
    try:
        with running_truth_rq(redis_broker(server), tmp_path) as workers:
            workers.enqueue("nap", 1, 2)
            workers.wait_for_value(USED, 1)
            server.stop()
            assert workers.worker is not None
            workers.worker.wait(60)
            assert set(workers.series.history(UP)) == {1}, workers.explain()
    finally:
        server.stop()


@since(1, 16)
def test_each_worker_of_a_pool_is_one_series_set(start: Start) -> None:
    """`rq worker-pool`: each is an instance of its own, up until the stop; the pool itself says nothing."""
    workers = start(POOL, concurrency=2)
    workers.wait_for_value(UP, 2)
    workers.enqueue("succeed", 30)
    workers.wait_for_runs(30)
    assert not workers.stop_worker().killed
    series = workers.series
    pairs = {
        (point.resource.attributes["service.instance.id"], point.attributes[semconv.WORKER_NAME])
        for point in series.points
        if point.name == UP
    }
    assert len(pairs) == len({name for _instance, name in pairs}) == 2
    for _instance, name in pairs:
        assert ended_cleanly(series.history(UP, taskqueue__worker__name=name))
    assert {point.resource.attributes["service.instance.id"] for point in series.last(RUNS)} <= {
        instance for instance, _name in pairs
    }
    assert outcomes(workers) == {("success", None): 30}


# --- while a job runs ----------------------------------------------------------------------------
@pytest.mark.parametrize("pool", ["fork", "simple"])
def test_a_job_that_runs_is_active_and_grows_old(start: Start, pool: str) -> None:
    """Active, its age, and the one slot that it takes; none of them afterwards."""
    workers = start(pool)
    workers.wait_for_value(meters.WORKER_SLOTS.name, 1)
    workers.wait_for_value(USED, 0)
    workers.enqueue("nap", 1, 2.5)
    workers.wait_for_value(ACTIVE, 1, taskqueue__task__name=f"{JOBS}nap")
    workers.wait_for_value(USED, 1)
    age = workers.wait_for_value(MAX_AGE, lambda seconds: seconds > 1, taskqueue__task__name=f"{JOBS}nap")
    assert age < 10
    workers.wait_for_runs(1)
    workers.wait_for_value(ACTIVE, 0)
    workers.wait_for_value(USED, 0)
    workers.wait_for_value(MAX_AGE, 0)


# --- without spans, without relay ------------------------------------------------------------------
@pytest.mark.parametrize(
    "env",
    [NO_RELAY, {"OTEL_TRACES_SAMPLER": "always_off"}, {**NO_RELAY, "OTEL_TRACES_SAMPLER": "always_off"}],
    ids=["no relay", "not sampled", "neither"],
)
def test_outcomes_are_true_without_spans_and_without_the_relay(start: Start, env: dict[str, str]) -> None:
    """The worker hears how the attempt ended, whoever exports the span."""
    workers = start(env=env, client_env=env)
    again = {"retry": {"max": 1}}
    workers.enqueue_plan(
        [
            ("succeed", 2, (), {}),
            ("fail", 1, (), {}),
            ("fail_again", 1, (), again),
            ("overrun", 1, (), {"job_timeout": 1}),
            ("die_but_last", 1, (), again),
            ("leave", 1, (0,), {}),
        ]
    )
    workers.wait_for_runs(9)
    assert outcomes(workers) == {
        ("success", None): 3,
        ("failure", "support.apps.errors.OrderError"): 1,
        ("failure", "support.apps.errors.TransientError"): 1,
        ("retry", None): 1,
        ("timeout", "rq.timeouts.JobTimeoutException"): 1,
        ("lost", "SIGKILL"): 1,
        ("lost", "exit_code"): 1,
    }
    assert len(workers.series.instances) == 1


@since(2, 3)
def test_where_a_spawned_work_horse_cannot_be_heard_rq_itself_is_asked(start: Start) -> None:
    """Its way home is the environment: an application may empty that; outcome and error stay true."""
    workers = start("stripped")
    workers.enqueue_plan(
        [
            ("succeed", 1, (), {}),
            ("fail", 1, (), {}),
            ("fail_again", 1, (), {"retry": {"max": 1, "interval": 600}}),
            ("overrun", 1, (), {"job_timeout": 1}),
        ]
    )
    workers.wait_for_runs(4)
    assert outcomes(workers) == {
        ("success", None): 1,
        ("failure", "support.apps.errors.OrderError"): 1,
        ("retry", None): 1,
        ("timeout", "rq.timeouts.JobTimeoutException"): 1,
    }
    assert workers.series.count(GROWTH) == 0  # nothing was heard


@pytest.mark.parametrize("pool", ["fork", "simple"])
def test_an_excluded_task_is_not_counted(start: Start, pool: str) -> None:
    """Neither its attempts nor its messages; its work-horse has ended all the same."""
    env = {"OTEL_PYTHON_TASKQUEUE_EXCLUDED_TASKS": "*.nap"}
    workers = start(pool, env=env, client_env=env)
    workers.enqueue_plan([("nap", 2, (0,), {}), ("succeed", 1, (), {})])
    workers.wait_for_runs(1)
    assert not workers.stop_worker().killed
    workers.ask("flush_metrics")
    for series in (workers.series, workers.client_series):
        assert not [
            point for point in series.points if point.attributes.get(semconv.TASK_NAME) == f"{JOBS}nap"
        ]
    assert workers.series.value(EXITS) == (3 if pool == "fork" else None)


# --- times -----------------------------------------------------------------------------------------
def test_a_delay_that_was_asked_for_is_no_wait_but_takes_its_time(start: Start) -> None:
    """A scheduled job, and retries with an interval; their moves are no new messages."""
    workers = start(arguments=("--with-scheduler",))
    workers.ask("enqueue_in", 3, "succeed")
    workers.enqueue("fail_but_last", retry={"max": 1, "interval": 3})
    workers.wait_for_runs(3, 30)
    wait_for(lambda: workers.series.count(TOTAL) == 2, 5, "both ends", workers.explain)
    series = workers.series
    # RQ's scheduler looks once a second, and keeps whole seconds.
    assert series.count(WAIT) == 3
    assert series.sum(WAIT) < 2
    retried = {"taskqueue__task__name": f"{JOBS}fail_but_last"}
    assert 2 <= series.sum(TOTAL, **retried) < 8
    assert series.sum(meters.TASK_ATTEMPTS.name, **retried) == 2
    assert series.sum(meters.PROCESS_DURATION.name) < 2
    workers.ask("flush_metrics")
    assert workers.client_series.value(SENT) == 2
    # The retry is a message of the work-horse; whatever else moves jobs has sent none.
    assert not workers.stop_worker().killed
    assert workers.series.value(SENT) == 1, workers.last(SENT)


# --- jobs whose worker is gone ---------------------------------------------------------------------
def test_an_abandoned_job_is_counted_once_by_who_finds_it(start: Start) -> None:
    """The worker was killed with its job; the next one's maintenance finds that, and waits are waits."""
    workers = start()
    (job,) = workers.enqueue("nap", 1, 60)
    wait_for(lambda: workers.ask("status", job) == "started", 15, "its start", workers.explain)
    kill(workers)
    assert outcomes(workers) == {}
    workers.ask("forget_worker", workers.names[0], job)
    workers.launch()
    workers.wait_for_runs(1)
    workers.enqueue("succeed")
    workers.wait_for_runs(2)
    assert not workers.stop_worker().killed
    assert outcomes(workers) == {
        ("lost", "rq.exceptions.AbandonedJobError"): 1,
        ("success", None): 1,
    }
    series = workers.series
    napped = {"taskqueue__task__name": f"{JOBS}nap"}
    assert (series.count(meters.TASK_ATTEMPTS.name, **napped), series.count(TOTAL, **napped)) == (1, 1)
    waited, ran = series.sum(WAIT, **napped), series.sum(meters.PROCESS_DURATION.name, **napped)
    assert ran > 0
    assert abs(series.sum(TOTAL, **napped) - waited - ran) < 0.2


def test_a_job_that_its_work_horse_left_is_not_counted_again(start: Start) -> None:
    """os._exit(0): RQ believes it, and its maintenance finds the job abandoned later; we have counted it."""
    workers = start()
    (job,) = workers.enqueue("leave", 1, 0)
    workers.wait_for_runs(1)
    workers.stop_worker()
    workers.ask("forget_worker", workers.names[0], job)
    workers.launch()
    wait_for(lambda: workers.ask("status", job) == "failed", 15, "maintenance", workers.explain)
    workers.enqueue("succeed")
    workers.wait_for_runs(2)
    assert outcomes(workers) == {("lost", "exit_code"): 1, ("success", None): 1}


# --- clients ----------------------------------------------------------------------------------------
def test_clients_count_what_they_sent_and_what_they_could_not(start: Start) -> None:
    """By task and error, with the time it took."""
    workers = start()
    workers.enqueue("succeed", 5)
    reply = workers.client.call("enqueue_far_away", request=None)
    assert reply.error is not None
    assert reply.error["type"] == "ConnectionError"
    workers.ask("flush_metrics")
    series = workers.client_series
    expected = {None: 5, "redis.exceptions.ConnectionError": 1}
    assert series.by(SENT, semconv.ERROR_TYPE) == expected
    assert series.by(meters.SEND_DURATION.name, semconv.ERROR_TYPE) == expected
    assert series.value(RUNS) is None


@pytest.mark.parametrize("pool", ["fork", "simple"])
def test_what_jobs_send_is_counted_in_the_worker(start: Start, pool: str) -> None:
    """A nested enqueue, and the next attempt of a retry."""
    workers = start(pool)
    workers.enqueue_plan([("enqueue_another", 3, (), {}), ("fail_again", 1, (), {"retry": {"max": 2}})])
    workers.wait_for_runs(9)
    assert not workers.stop_worker().killed
    sent = workers.series.by(SENT, semconv.TASK_NAME)
    assert sent == {f"{JOBS}succeed": 3, f"{JOBS}fail_again": 2}
    assert len(workers.series.instances) == 1


# --- exemplars --------------------------------------------------------------------------------------
@pytest.mark.parametrize("pool", ["fork", "simple", pytest.param("spawn", marks=since(2, 3))])
def test_histograms_lead_to_the_spans(start: Start, pool: str) -> None:
    """A duration names the process span of a job, in the trace of who sent it."""
    workers = start(pool)
    reply = workers.client.call("enqueue", [["succeed", 1, [], {}]])
    workers.wait_for_runs(1)
    span = process_span(workers, reply.result[0])
    name = meters.PROCESS_DURATION.name
    told = [mark for point in workers.series.points if point.name == name for mark in point.exemplars]
    assert {(mark.trace_id, mark.span_id) for mark in told} == {(reply.trace_id, span.span_id)}
