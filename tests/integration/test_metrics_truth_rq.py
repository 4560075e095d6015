"""1,000 jobs of which it is known how each attempt ends: every counter and histogram says the same.

With ``OTEL_TASKQUEUE_TRUTH_TABLE=<file>`` the table of what was expected and counted is written there.
A spawned work-horse costs the start of an interpreter, about 0.4 s of a processor: that kind of worker gets
fewer jobs, in which everything happens once, with ``TASKQUEUE_TEST_SPAWNED=30``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from rq.utils import import_attribute

from conformance.table import installed
from otel_taskqueue import meters, semconv
from support.harness import redis_broker
from support.otlp.series import ended_cleanly
from support.planned import NAP, ORDER, RETRY, SUCCESS, TRANSIENT, PlanTruth
from support.rq_lab import since
from support.servers import RedisServer
from support.truth_rq import Line, RQTruth, running_truth_rq

SPAWN = [since(2, 3), pytest.mark.xdist_group("spawn")]
SPAWNED = int(os.environ.get("TASKQUEUE_TEST_SPAWNED", "1000"))
PATIENCE = 240 + SPAWNED
HOUR = 3600
pytestmark = [pytest.mark.xdist_group("truth-rq"), pytest.mark.timeout(PATIENCE + 120)]
TIMEOUT = "rq.timeouts.JobTimeoutException"
CORRUPT = "rq.exceptions.DeserializationError"
NOWHERE = "support.apps.truth_rq.nowhere"
#: How many jobs, and how many workers side by side.
KINDS = {"fork": (1000, 4), "simple": (1000, 1), "spawn": (SPAWNED, 2)}
#: With fewer jobs everything happens once.
ALL = 1000


def once(times: int) -> dict[str, object]:
    """So many more attempts."""
    return {"retry": {"max": times}}


def plan(kind: str) -> list[Line]:
    """How often what happens in 1,000 jobs; what a kind of worker does not offer becomes ordinary jobs."""
    limit = {"job_timeout": 1}
    late = 2 if kind == "simple" else 4  # RQ counts in seconds, and a SimpleWorker is alone
    lines = [
        Line("success, 0.1 s", "nap", 20, (SUCCESS,), (NAP,)),
        Line("failure", "fail", 120, (("failure", ORDER),)),
        Line("retries until success", "fail_but_last", 40, (RETRY, RETRY, SUCCESS), (), once(2)),
        Line("retries until failure", "fail_again", 40, (RETRY, ("failure", TRANSIENT)), (), once(1)),
        Line("SystemExit", "leave_by_system_exit", 20, (("failure", "SystemExit"),)),
        Line("corrupt payload", "corrupt", 20, (("failure", CORRUPT),)),
        Line("cannot be imported", NOWHERE, 20, (("failure", _import_error()),)),
        Line("callback fails", "succeed", 20, (("failure", ORDER),), (), {"on_success": "fail_in_callback"}),
        Line("timeout", "overrun", late, (("timeout", TIMEOUT),), (), limit),
        Line("timeout twice", "overrun", late // 2, (("timeout", TIMEOUT),) * 2, (), {**once(1), **limit}),
        Line("timeout caught", "overrun_caught", late // 2, (SUCCESS,), (), limit),
    ]  # fmt: skip
    if installed("rq") >= (2, 1):
        lines += [
            Line("Retry returned", "ask_once", 20, (RETRY, SUCCESS)),
            Line("Retry returned too often", "ask_again", 20, (RETRY, ("failure", "failure"))),
        ]
    if kind != "simple":
        left, revoked, killed = ("lost", "exit_code"), ("revoked", None), ("lost", "SIGKILL")
        leaving = {"on_success": "leave_in_callback"}
        lines += [
            Line("SIGKILL", "die", 8, (killed,), (), {}, ("SIGKILL",)),
            Line("SIGSEGV", "die", 8, (("lost", "SIGSEGV"),), ("SIGSEGV",), {}, ("SIGSEGV",)),
            Line("SIGKILL, retried", "die_but_last", 8, (killed, SUCCESS), (), once(1), ("SIGKILL", "ok")),
            Line("os._exit(7)", "leave", 8, (left,), (7,), {}, ("exit_code",)),
            Line("os._exit(7), retried", "leave", 8, (left, left), (7,), once(1), ("exit_code",) * 2),
            Line("os._exit(0)", "leave", 4, (left,), (0,), {}, ("ok",), 0),
            Line("os._exit in a callback", "succeed", 4, (left,), (), leaving, ("exit_code",)),
            Line("stopped by the command", "stop_me", 8, (revoked,), (), {}, ("SIGKILL",)),
        ]  # fmt: skip
    return lines


def _import_error() -> str:
    """It depends on the version of RQ."""
    try:
        import_attribute(NOWHERE)
    except Exception as error:  # noqa: BLE001 - that is the question
        kind = type(error)
        return (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
    raise AssertionError(NOWHERE)


class Truth(PlanTruth[RQTruth, Line]):
    """Workers that have done their jobs."""

    def __init__(self, workers: RQTruth) -> None:
        jobs = KINDS[workers.pool][0]
        lines = [line if jobs >= ALL else replace(line, count=1) for line in plan(workers.pool)]
        rest = jobs - sum(line.count for line in lines)
        super().__init__(workers, [Line("success", "succeed", rest, (SUCCESS,)), *lines], PATIENCE)

    @property
    def exits(self) -> Counter[str]:
        """Work-horses by the reason for their end."""
        found: Counter[str] = Counter()
        for line in self.lines if self.pool != "simple" else ():
            for reason in line.reasons:
                found[reason] += line.count
        return found

    def rows(self) -> Iterator[str]:
        """The table tells of the work-horses too."""
        yield from super().rows()
        ended = self.series.by(meters.WORKER_EXITS.name, semconv.EXIT_REASON)
        for reason in sorted({*ended, *self.exits}):
            yield f"| {self.pool} | (exits) | {reason} | | {self.exits[reason]} | {ended[reason]} |"


@pytest.fixture(scope="module", params=["fork", "simple", pytest.param("spawn", marks=SPAWN)])
def truth(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Truth]:
    """Workers of each kind."""
    kind = request.param
    where, workers = tmp_path_factory.mktemp("truth"), KINDS[kind][1]
    options = {"concurrency": workers, "env": {"OTEL_METRIC_EXPORT_INTERVAL": "1000"}}
    with running_truth_rq(redis_broker(redis_server), where, kind, **options) as running:
        found = Truth(running)
        found.write_table()
        yield found


def test_each_attempt_is_counted_once_with_its_outcome_and_error(truth: Truth) -> None:
    """taskqueue.task.runs, and nothing but what happened."""
    assert truth.counted() == truth.runs


def test_each_delivery_is_counted_once(truth: Truth) -> None:
    """messaging.client.consumed.messages."""
    assert truth.series.by(meters.CONSUMED.name, semconv.TASK_NAME) == truth.deliveries


def test_each_attempt_has_a_duration_by_outcome(truth: Truth) -> None:
    """messaging.process.duration."""
    expected: Counter[tuple[str, str | None]] = Counter()
    for (_name, outcome, error), count in truth.runs.items():
        expected[outcome, error] += count
    assert truth.series.by(meters.PROCESS_DURATION.name, semconv.TASK_OUTCOME, semconv.ERROR_TYPE) == expected


@pytest.mark.parametrize(
    ("metric", "of_one"),
    [
        (meters.WAIT_DURATION, lambda line: len(line.ends)),
        (meters.TASK_ATTEMPTS, lambda _line: 1),
        (meters.TOTAL_DURATION, lambda _line: 1),
        (meters.CPU_TIME, lambda line: len(line.ends)),
        (meters.MEMORY_PEAK, lambda line: len(line.ends)),
        (meters.MEMORY_GROWTH, lambda line: line.tellers),
    ],
    ids=["wait", "attempts", "total", "cpu", "memory peak", "memory growth"],
)
def test_each_histogram_holds_each_attempt_or_job(
    truth: Truth, metric: meters.Metric, of_one: Callable[[Line], int]
) -> None:
    """Attempts have waited and used something, also when they were killed; jobs took attempts and time."""
    assert truth.series.count(metric.name) == truth.total(of_one)


def test_jobs_took_as_many_attempts_as_they_had(truth: Truth) -> None:
    """The sum of taskqueue.task.attempts."""
    assert truth.series.sum(meters.TASK_ATTEMPTS.name) == truth.total(lambda line: len(line.ends))


def test_final_outcomes_are_those_of_the_jobs(truth: Truth) -> None:
    """taskqueue.task.total.duration by outcome."""
    expected: Counter[str] = Counter()
    for line in truth.lines:
        expected[line.ends[-1][0]] += line.count
    assert truth.series.by(meters.TOTAL_DURATION.name, semconv.TASK_OUTCOME) == expected


def test_sums_are_plausible(truth: Truth) -> None:
    """Some jobs slept 0.1 s each, some were stopped after one; waits take their time, but not an hour."""
    naps = sum(line.count for line in truth.lines if line.task == "nap")
    napped = truth.series.sum(meters.PROCESS_DURATION.name, taskqueue__task__name="support.apps.truth_rq.nap")
    assert naps * NAP <= napped < naps * NAP * 4
    late = truth.series.sum(meters.PROCESS_DURATION.name, taskqueue__task__outcome="timeout")
    timeouts = sum(count for (_name, outcome, _error), count in truth.runs.items() if outcome == "timeout")
    assert 0.9 * timeouts <= late < 3 * timeouts
    waited, in_all = (truth.series.sum(m.name) for m in (meters.WAIT_DURATION, meters.TOTAL_DURATION))
    assert 0 < waited
    assert 0 < in_all < len(truth.ids) * HOUR


def test_the_ends_of_all_work_horses_are_counted_by_reason(truth: Truth) -> None:
    """taskqueue.worker.process.exits; a SimpleWorker has none."""
    assert truth.series.by(meters.WORKER_EXITS.name, semconv.EXIT_REASON) == truth.exits


def test_one_worker_is_one_series_set(truth: Truth) -> None:
    """However many work-horses it had: as many instances as workers, and each speaks of itself alone."""
    names = {
        (point.resource.attributes["service.instance.id"], point.attributes[semconv.WORKER_NAME])
        for point in truth.series.points
        if point.name == meters.WORKER_UP.name
    }
    assert {name for _instance, name in names} == set(truth.worker.names)
    assert len(names) == len(truth.series.instances) == len(truth.worker.names)


def test_no_attribute_is_an_id_or_a_place(truth: Truth) -> None:
    """The keys are those of the table, and no value is a job's id."""
    assert truth.strange_keys() == set()
    assert not truth.series.attribute_values() & set(truth.ids)


def test_a_clean_stop_says_so(truth: Truth) -> None:
    """taskqueue.worker.up is 1 while a worker runs, and 0 at the end."""
    for name in truth.worker.names:
        history = truth.series.history(meters.WORKER_UP.name, taskqueue__worker__name=name)
        assert ended_cleanly(history), history


def test_nothing_is_active_at_the_end(truth: Truth) -> None:
    """Every attempt that began has ended."""
    assert truth.series.value(meters.ACTIVE.name) == 0
    assert truth.series.value(meters.ACTIVE_MAX_AGE.name) == 0
