"""1,000 jobs of which it is known how each attempt ends: every counter and histogram says the same.

With ``OTEL_TASKQUEUE_TRUTH_TABLE=<file>`` the table of what was expected and counted is written there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from otel_taskqueue import meters, semconv
from support.harness import redis_broker
from support.otlp.series import Series, ended_cleanly
from support.servers import RedisServer
from support.truth import Line, TruthHarness, running_truth
from support.wait import NotInTimeError

pytestmark = pytest.mark.timeout(300)  # the first test of a pool waits for all of its jobs
JOBS = 1000
ORDER = "support.apps.errors.OrderError"
EXPECTED = "support.apps.errors.ExpectedError"
TRANSIENT = "support.apps.errors.TransientError"
REJECT = "celery.exceptions.Reject"
SOFT = "billiard.exceptions.SoftTimeLimitExceeded"
HARD = "billiard.exceptions.TimeLimitExceeded"
LOST = "billiard.exceptions.WorkerLostError"
UNKNOWN = "celery.exceptions.NotRegistered"
GARBAGE = "kombu.exceptions.DecodeError"
#: Before 4.3.2 billiard took a child that exits for one that was killed.
EXIT = "SystemExit" if tuple(map(int, version("billiard").split(".")[:3])) >= (4, 3, 2) else LOST
RETRY, SUCCESS = ("retry", None), ("success", None)
POOLS = ("prefork", "threads", "gevent", "solo")
GREEN, ALONE = {"gevent"}, {"prefork"}
LATE = {"countdown": 0.6, "expires": 0.3}
#: The task's name, where a message names none.
NAMELESS = "unknown"
NAP = 0.1
SHARED = {
    semconv.MESSAGING_SYSTEM,
    semconv.SYSTEM,
    semconv.MESSAGING_DESTINATION_NAME,
    semconv.TASK_NAME,
}
ATTEMPT = {
    *SHARED,
    semconv.MESSAGING_OPERATION_NAME,
    semconv.MESSAGING_OPERATION_TYPE,
    semconv.TASK_OUTCOME,
    semconv.ERROR_TYPE,
    semconv.FAILURE_CATEGORY,
}
WORKER = {semconv.SYSTEM, semconv.WORKER_NAME, semconv.EXIT_REASON}


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
        hard = HARD if pool in ALONE else "celery.exceptions.TimeLimitExceeded"
        lines += [
            Line("hard limit", "overrun", 12, (("timeout", hard),), measured=None),
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


class Truth:
    """A worker that has done its 1,000 jobs and was stopped, what it exported, and what is true."""

    def __init__(self, worker: TruthHarness, pool: str) -> None:
        self.pool = pool
        self.worker = worker
        self.lines = [*plan(pool), REVOKED, UNDECODABLE]
        rest = JOBS - sum(line.count for line in self.lines)
        self.lines.insert(0, Line("success", "succeed", rest, (SUCCESS,)))
        self._run()
        self.series: Series = worker.series

    def _run(self) -> None:
        worker, known = self.worker, self.lines[:-2]
        named = worker.worker_name
        reply = worker.client.call("enqueue_revoked", REVOKED.count, named, request=None, timeout=70)
        assert reply.error is None, reply.error
        worker.client.call("enqueue_garbage", UNDECODABLE.count, request=None)
        self.ids = worker.enqueue_plan([(line.task, line.count, line.args, line.options) for line in known])
        with suppress(NotInTimeError):  # the tests say what is missing
            worker.wait_for_runs(sum(self.runs.values()), 150)
        assert not worker.stop_worker().killed, worker.explain()

    @property
    def runs(self) -> Counter[tuple[str, str, str | None]]:
        """Attempts by task, outcome and error."""
        found: Counter[tuple[str, str, str | None]] = Counter()
        for line in self.lines:
            for outcome, error in line.ends:
                found[self.name(line), outcome, error] += line.count
        return found

    def total(self, what: str) -> int:
        """A sum over all lines."""
        return sum(line.count * getattr(line, what) for line in self.lines)

    def name(self, line: Line) -> str:
        """``taskqueue.task.name``."""
        own = "." not in line.task and line.task != NAMELESS
        return f"support.apps.truth_celery.{line.task}" if own else line.task

    def counted(self) -> Counter[tuple[str, str, str | None]]:
        """Attempts as they were counted."""
        return self.series.by(meters.RUNS.name, semconv.TASK_NAME, semconv.TASK_OUTCOME, semconv.ERROR_TYPE)


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
        found = Truth(worker, pool)
        _write_table(found)
        yield found


def test_each_attempt_is_counted_once_with_its_outcome_and_error(truth: Truth) -> None:
    """taskqueue.task.runs, and nothing but what happened."""
    assert truth.counted() == truth.runs


def test_each_delivery_is_counted_once(truth: Truth) -> None:
    """messaging.client.consumed.messages."""
    expected: Counter[str] = Counter()
    for (name, _outcome, _error), count in truth.runs.items():
        expected[name] += count
    assert truth.series.by(meters.CONSUMED.name, semconv.TASK_NAME) == expected


def test_each_attempt_that_ran_has_a_duration(truth: Truth) -> None:
    """messaging.process.duration by outcome; what never started is not in it."""
    expected: Counter[str] = Counter()
    for line in truth.lines:
        for outcome, _error in line.ends[: line.begun]:
            expected[outcome] += line.count
    assert truth.series.by(meters.PROCESS_DURATION.name, semconv.TASK_OUTCOME) == expected


@pytest.mark.parametrize(
    ("metric", "what"),
    [
        (meters.WAIT_DURATION, "begun"),
        (meters.TASK_ATTEMPTS, "finals"),
        (meters.TOTAL_DURATION, "known_finals"),
    ],
    ids=["wait", "attempts", "total"],
)
def test_each_histogram_holds_each_attempt_or_job(truth: Truth, metric: meters.Metric, what: str) -> None:
    """Attempts that ran have waited; jobs that ended took attempts and time."""
    assert truth.series.count(metric.name) == truth.total(what)


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
    own = {metric.name for metric in meters.TABLE if metric is not meters.DROPPED}
    of_worker = {name for name in own if name.startswith("taskqueue.worker.")}
    assert truth.series.attribute_keys(lambda name: name in own - of_worker) <= ATTEMPT
    assert truth.series.attribute_keys(lambda name: name in of_worker) <= WORKER
    assert not truth.series.attribute_values() & {*truth.ids, *truth.worker.lines("born")}


def test_a_clean_stop_says_so(truth: Truth) -> None:
    """taskqueue.worker.up is 1 while the worker runs, and 0 once at the end."""
    history = truth.series.history(meters.WORKER_UP.name)
    assert ended_cleanly(history), history


def test_nothing_is_active_at_the_end(truth: Truth) -> None:
    """Every attempt that began has ended."""
    assert truth.series.value(meters.ACTIVE.name) == 0
    assert truth.series.value(meters.ACTIVE_MAX_AGE.name) == 0


def _write_table(truth: Truth) -> None:
    target = os.environ.get("OTEL_TASKQUEUE_TRUTH_TABLE")
    if not target:
        return
    counted, path = truth.counted(), Path(target)
    rows = (
        []
        if path.exists()
        else ["| pool | task | outcome | error.type | expected | counted |", "|---|---|---|---|---|---|"]
    )
    for key in sorted({*counted, *truth.runs}, key=str):
        name, outcome, error = key
        task = name.rpartition(".")[2]
        rows.append(
            f"| {truth.pool} | {task} | {outcome} | {error or ''} | {truth.runs[key]} | {counted[key]} |"
        )
    with path.open("a") as file:
        file.write("\n".join(rows) + "\n")
