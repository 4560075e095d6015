"""1,000 jobs of which it is known how each attempt ends: every counter and histogram says the same.

With ``OTEL_TASKQUEUE_TRUTH_TABLE=<file>`` the table of what was expected and counted is written there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import pytest

from otel_taskqueue import meters, semconv
from support.harness import redis_broker
from support.otlp.series import ended_cleanly
from support.planned import NAP, ORDER, RETRY, SUCCESS, TRANSIENT, PlanTruth
from support.servers import RedisServer
from support.truth import NAMELESS, Line, TruthHarness, running_truth

pytestmark = pytest.mark.timeout(300)  # the first test of a pool waits for all of its jobs
JOBS = 1000
EXPECTED = "support.apps.errors.ExpectedError"
REJECT = "celery.exceptions.Reject"
SOFT = "billiard.exceptions.SoftTimeLimitExceeded"
HARD = "billiard.exceptions.TimeLimitExceeded"
LOST = "billiard.exceptions.WorkerLostError"
UNKNOWN = "celery.exceptions.NotRegistered"
GARBAGE = "kombu.exceptions.DecodeError"
#: Before 4.3.2 billiard took a child that exits for one that was killed.
EXIT = "SystemExit" if tuple(map(int, version("billiard").split(".")[:3])) >= (4, 3, 2) else LOST
POOLS = ("prefork", "threads", "gevent", "solo")
GREEN, ALONE = {"gevent"}, {"prefork"}
LATE = {"countdown": 0.6, "expires": 0.3}


def plan(pool: str) -> list[Line]:
    """How often what happens; what a pool does not offer becomes ordinary jobs."""
    lines = [
        Line("success, 0.1 s", "nap", 20, (SUCCESS,), (NAP,)),
        Line("failure", "fail", 120, (("failure", ORDER),)),
        Line("expected failure", "fail_as_expected", 60, (("failure", EXPECTED),)),
        Line("retry by hand", "retry_by_hand", 40, (RETRY, SUCCESS)),
        Line("autoretry", "retry_and_fail", 30, (RETRY, RETRY, ("failure", TRANSIENT))),
        Line("ignored", "ignore", 40, (("ignored", None),), finals=0),
        Line("rejected, requeued", "reject_once", 30, (("rejected", None), SUCCESS)),
        Line("rejected for good", "reject_for_good", 40, (("rejected", REJECT),)),
        Line("expired", "succeed", 30, (("expired", None),), options=LATE, started=0),
        Line("unknown task", "support.apps.nowhere", 30, (("unknown", UNKNOWN),), started=0),
    ]  # fmt: skip
    if pool in ALONE | GREEN:
        lines += [
            Line("hard limit", "overrun", 12, (("timeout", HARD),), measured=None),
            Line("revoked during", "revoked_meanwhile", 8, (("revoked", None),), measured=None),
        ]
    if pool in ALONE:
        lines += [
            Line("soft limit", "overrun_softly", 12, (("timeout", SOFT),)),
            Line("SIGKILL", "die", 6, (("lost", LOST),), ("SIGKILL",), measured=0),
            Line("SIGSEGV", "die", 4, (("lost", LOST),), ("SIGSEGV",), measured=0),
            Line("os._exit", "leave", 4, (("lost", LOST),), measured=0),
            Line("SystemExit", "system_exit", 4, (("lost", EXIT),), measured=None),
        ]
    return lines


REVOKED = Line("revoked before", "succeed", 20, (("revoked", None),), started=0)
UNDECODABLE = Line("undecodable", NAMELESS, 20, (("rejected", GARBAGE),), started=0, first_known=False)


class Truth(PlanTruth[TruthHarness, Line]):
    """A worker that has done its 1,000 jobs."""

    def __init__(self, worker: TruthHarness) -> None:
        lines = [*plan(worker.pool), REVOKED, UNDECODABLE]
        rest = JOBS - sum(line.count for line in lines)
        super().__init__(worker, [Line("success", "succeed", rest, (SUCCESS,)), *lines], patience=150)

    def enqueue(self) -> list[str]:
        """What needs a hand first; the ids are those of the rest."""
        worker, known = self.worker, self.lines[:-2]
        named = worker.worker_name
        reply = worker.client.call("enqueue_revoked", REVOKED.count, named, request=None, timeout=70)
        assert reply.error is None, reply.error
        worker.client.call("enqueue_garbage", UNDECODABLE.count, request=None)
        return worker.enqueue_plan([(line.task, line.count, line.args, line.options) for line in known])


@pytest.fixture(scope="module", params=POOLS)
def truth(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Truth]:
    """One worker of each pool."""
    pool = request.param
    arguments = ("--max-tasks-per-child", "60") if pool == "prefork" else ()
    options: dict[str, Any] = {"concurrency": 4, "arguments": arguments}
    with running_truth(
        redis_broker(redis_server), tmp_path_factory.mktemp("truth"), pool, **options
    ) as worker:
        found = Truth(worker)
        found.write_table()
        yield found


def test_each_attempt_is_counted_once_with_its_outcome_and_error(truth: Truth) -> None:
    """taskqueue.task.runs, and nothing but what happened."""
    assert truth.counted() == truth.runs


def test_each_delivery_is_counted_once(truth: Truth) -> None:
    """messaging.client.consumed.messages."""
    assert truth.series.by(meters.CONSUMED.name, semconv.TASK_NAME) == truth.deliveries


def test_each_attempt_that_ran_has_a_duration(truth: Truth) -> None:
    """messaging.process.duration by outcome; what never started is not in it."""
    expected: Counter[str] = Counter()
    for line in truth.lines:
        for outcome, _error in line.ends[: line.begun]:
            expected[outcome] += line.count
    assert truth.series.by(meters.PROCESS_DURATION.name, semconv.TASK_OUTCOME) == expected


@pytest.mark.parametrize(
    ("metric", "of_one"),
    [
        (meters.WAIT_DURATION, lambda line: line.begun),
        (meters.TASK_ATTEMPTS, lambda line: line.finals),
        (meters.TOTAL_DURATION, lambda line: line.known_finals),
    ],
    ids=["wait", "attempts", "total"],
)
def test_each_histogram_holds_each_attempt_or_job(
    truth: Truth, metric: meters.Metric, of_one: Callable[[Line], int]
) -> None:
    """Attempts that ran have waited; jobs that ended took attempts and time."""
    assert truth.series.count(metric.name) == truth.total(of_one)


def test_jobs_took_as_many_attempts_as_they_had(truth: Truth) -> None:
    """A redelivered message keeps its number."""
    retried = {"retry by hand": 2, "autoretry": 3}
    expected = sum(line.count * line.finals * retried.get(line.label, 1) for line in truth.lines)
    assert truth.series.sum(meters.TASK_ATTEMPTS.name) == expected


def test_each_attempt_that_could_tell_has_its_processor_time_and_memory(truth: Truth) -> None:
    """Greenlets share a thread, threads share the memory; a killed child cannot tell."""
    sure = sum(line.count * (line.told or 0) for line in truth.lines)
    perhaps = sum(line.count * line.begun for line in truth.lines if line.told is None)
    series = truth.series
    if truth.pool == "gevent":
        assert series.count(meters.CPU_TIME.name) == 0
    else:
        assert sure <= series.count(meters.CPU_TIME.name) <= sure + perhaps
    counts = {series.count(metric.name) for metric in (meters.MEMORY_PEAK, meters.MEMORY_GROWTH)}
    if truth.pool in {"gevent", "threads"}:
        assert counts == {0}
    else:
        assert counts == {series.count(meters.CPU_TIME.name)}


def test_sums_are_plausible(truth: Truth) -> None:
    """20 tasks slept 0.1 s each; retries and waits take their time, but not an hour."""
    napped = truth.series.sum(
        meters.PROCESS_DURATION.name, taskqueue__task__name="support.apps.truth_celery.nap"
    )
    assert 20 * NAP <= napped < 20 * NAP * 10
    waited = truth.series.sum(meters.WAIT_DURATION.name)
    in_all = truth.series.sum(meters.TOTAL_DURATION.name)
    assert 0 < waited < JOBS * 120
    assert 0 < in_all < JOBS * 120


def test_the_ends_of_all_children_are_counted_by_reason(truth: Truth) -> None:
    """Nothing but prefork has children."""
    exits = truth.series.by(meters.WORKER_EXITS.name, semconv.EXIT_REASON)
    if truth.pool != "prefork":
        assert exits == Counter()
        return
    reported = Counter(truth.worker.lines("ended"))
    lines = {line.label: line.count for line in truth.lines}
    born = len(truth.worker.lines("born"))
    assert sum(exits.values()) == born
    expected = {
        "recycled": reported["155"],
        **Counter(truth.worker.lines("victims")),
        "SIGTERM": lines["revoked during"],
        "time_limit": lines["hard limit"],
        "ok": 4,
    }
    # Its status is the task's, or 0 since billiard 4.3.2, where the child reports it before it ends.
    systems = "exit_code" if exits["exit_code"] > expected["exit_code"] else "ok"
    expected[systems] += lines["SystemExit"]
    assert exits == expected


def test_one_worker_is_one_series_set(truth: Truth) -> None:
    """However many children and greenlets it had."""
    assert len(truth.series.instances) == 1
    up = [point for point in truth.series.points if point.name == meters.WORKER_UP.name]
    assert {point.attributes[semconv.WORKER_NAME] for point in up} == {truth.worker.worker_name}


def test_no_attribute_is_an_id_or_a_place(truth: Truth) -> None:
    """The keys are those of the table, and no value is a job's id."""
    assert truth.strange_keys() == set()
    assert not truth.series.attribute_values() & {*truth.ids, *truth.worker.lines("born")}


def test_a_clean_stop_says_so(truth: Truth) -> None:
    """taskqueue.worker.up is 1 while the worker runs, and 0 once at the end."""
    history = truth.series.history(meters.WORKER_UP.name)
    assert ended_cleanly(history), history


def test_nothing_is_active_at_the_end(truth: Truth) -> None:
    """Every attempt that began has ended."""
    assert truth.series.value(meters.ACTIVE.name) == 0
    assert truth.series.value(meters.ACTIVE_MAX_AGE.name) == 0
