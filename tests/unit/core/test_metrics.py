"""One attempt that ended, in every instrument once; attributes that are bounded."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_taskqueue import meters, semconv
from otel_taskqueue.core import attempts, telemetry
from otel_taskqueue.core.job import Broker, JobView
from otel_taskqueue.core.message import Incoming
from otel_taskqueue.core.metrics import MOST_ERRORS, MOST_QUEUES, MOST_STRANGERS, MOST_TASKS, Metrics
from otel_taskqueue.core.result import Result, Usage
from support.points import Metered

SECOND = 1_000_000_000
SHARED = {
    semconv.MESSAGING_SYSTEM: "redis",
    semconv.SYSTEM: "celery",
    semconv.MESSAGING_DESTINATION_NAME: "orders",
    semconv.TASK_NAME: "shop.pay",
}
PROCESS = {**SHARED, semconv.MESSAGING_OPERATION_NAME: "process"}
DONE = Result(
    "celery",
    "redis",
    "orders",
    "shop.pay",
    attempt=2,
    start=10 * SECOND,
    end=12 * SECOND,
    wait=0.5,
    first=5 * SECOND,
    outcome="success",
    final=True,
    usage=(0.25, 1000, 10),
)
JOB = JobView("celery", Broker("redis"), "shop.pay", "job-1", "orders")


@pytest.fixture
def metered() -> Metered:
    """A meter provider of its own."""
    return Metered()


@pytest.fixture
def found(metered: Metered) -> Iterator[Metrics]:
    """Its instruments."""
    attempts.forget()
    yield Metrics(metered.provider)
    attempts.forget()


def test_an_attempt_is_in_every_instrument_once(metered: Metered, found: Metrics) -> None:
    """With what belongs to it, and nothing else."""
    found.ended(DONE)
    outcome = {semconv.TASK_OUTCOME: "success"}
    assert metered.values(meters.CONSUMED) == [(PROCESS, 1)]
    assert metered.values(meters.RUNS) == [({**SHARED, **outcome}, 1)]
    assert metered.sums(meters.PROCESS_DURATION) == [({**PROCESS, **outcome}, 1, 2.0)]
    assert metered.sums(meters.WAIT_DURATION) == [(SHARED, 1, 0.5)]
    assert metered.sums(meters.TOTAL_DURATION) == [({**SHARED, **outcome}, 1, 7.0)]
    assert metered.sums(meters.TASK_ATTEMPTS) == [(SHARED, 1, 2)]
    assert metered.sums(meters.CPU_TIME) == [(SHARED, 1, 0.25)]
    assert metered.sums(meters.MEMORY_PEAK) == [(SHARED, 1, 1000)]
    assert metered.sums(meters.MEMORY_GROWTH) == [(SHARED, 1, 10)]


def test_a_failure_says_what_it_was(metered: Metered, found: Metrics) -> None:
    """Its exception and its category; the duration has no category."""
    found.ended(DONE._replace(outcome="failure", error_type="ValueError", category="data"))
    error = {semconv.TASK_OUTCOME: "failure", semconv.ERROR_TYPE: "ValueError"}
    assert metered.values(meters.RUNS) == [({**SHARED, **error, semconv.FAILURE_CATEGORY: "data"}, 1)]
    assert metered.sums(meters.PROCESS_DURATION) == [({**PROCESS, **error}, 1, 2.0)]


def test_an_attempt_that_never_started_took_no_time(metered: Metered, found: Metrics) -> None:
    """Expired: it is counted, and the job has come to its end."""
    found.ended(DONE._replace(start=0, outcome="expired", usage=None))
    assert [value for _, value in metered.values(meters.RUNS)] == [1]
    assert metered.points(meters.PROCESS_DURATION) == metered.points(meters.WAIT_DURATION) == []
    assert [count for _, count, _ in metered.sums(meters.TASK_ATTEMPTS)] == [1]


def test_an_attempt_that_is_not_the_last_ends_no_job(metered: Metered, found: Metrics) -> None:
    """A retry."""
    found.ended(DONE._replace(outcome="retry", final=False))
    assert metered.points(meters.TASK_ATTEMPTS) == metered.points(meters.TOTAL_DURATION) == []


def test_what_is_not_known_is_not_recorded(metered: Metered, found: Metrics) -> None:
    """No 0 for a wait, a total, or a usage."""
    found.ended(DONE._replace(wait=None, first=0, usage=(None, None, None)))
    absent = (meters.WAIT_DURATION, meters.TOTAL_DURATION, meters.CPU_TIME, meters.MEMORY_PEAK)
    assert [metered.points(metric) for metric in absent] == [[]] * 4


def test_a_clock_that_went_back_makes_no_negative_time(metered: Metered, found: Metrics) -> None:
    """0 is the least."""
    found.ended(DONE._replace(end=4 * SECOND))
    assert [total for _, _, total in metered.sums(meters.PROCESS_DURATION)] == [0]
    assert [total for _, _, total in metered.sums(meters.TOTAL_DURATION)] == [0]


def test_the_parent_s_measurement_of_the_process_is_the_better_one(metered: Metered, found: Metrics) -> None:
    """But by how much it grew only the attempt knows."""
    found.ended(DONE, Usage(0.5, 2000))
    assert [total for _, _, total in metered.sums(meters.CPU_TIME)] == [0.5]
    assert [total for _, _, total in metered.sums(meters.MEMORY_PEAK)] == [2000]
    assert [total for _, _, total in metered.sums(meters.MEMORY_GROWTH)] == [10]


def test_histograms_have_boundaries_of_their_own(metered: Metered, found: Metrics) -> None:
    """Seconds are not milliseconds."""
    found.ended(DONE)
    for metric in meters.TABLE:
        for point in metered.points(metric) if metric.kind == "histogram" else ():
            assert tuple(point.explicit_bounds) == metric.buckets, metric.name


def test_an_exemplar_names_the_attempt_s_span_and_no_other(metered: Metered, found: Metrics) -> None:
    """Whatever is current where it is counted."""
    current = NonRecordingSpan(SpanContext(7, 8, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(current):
        found.ended(DONE._replace(span=(1, 2, 1)))
        found.ended(DONE._replace(task="shop.other"))
    points = metered.points(meters.PROCESS_DURATION)
    named = {
        point.attributes[semconv.TASK_NAME]: [(one.trace_id, one.span_id) for one in point.exemplars]
        for point in points
    }
    assert named == {"shop.pay": [(1, 2)], "shop.other": []}


@pytest.mark.parametrize(
    ("field", "key", "most"),
    [
        ("queue", semconv.MESSAGING_DESTINATION_NAME, MOST_QUEUES),
        ("task", semconv.TASK_NAME, MOST_TASKS),
        ("error_type", semconv.ERROR_TYPE, MOST_ERRORS),
    ],
)
def test_attributes_are_bounded(metered: Metered, found: Metrics, field: str, key: str, most: int) -> None:
    """What comes later is counted as other."""
    for number in range(most + 5):
        found.ended(DONE._replace(outcome="failure", **{field: f"n{number}"}))
    values = {attributes[key]: value for attributes, value in metered.values(meters.RUNS)}
    assert values == {**{f"n{number}": 1 for number in range(most)}, "_OTHER": 5}
    (points, tooks) = (metered.points(metric) for metric in (meters.RUNS, meters.PROCESS_DURATION))
    assert len(points) == len(tooks) == most + 1


@pytest.mark.parametrize("outcome", ["unknown", "rejected"])
def test_made_up_names_take_no_place_from_a_task(metered: Metered, found: Metrics, outcome: str) -> None:
    """Messages that never became a job: anybody can send any number of them."""
    for number in range(MOST_TASKS + 1):
        found.ended(DONE._replace(outcome=outcome, start=0, task=f"n{number}"))
    found.ended(DONE)
    values = {attributes[semconv.TASK_NAME]: value for attributes, value in metered.values(meters.RUNS)}
    assert (values["shop.pay"], values["_OTHER"]) == (1, MOST_TASKS + 1 - MOST_STRANGERS)
    assert len(values) == MOST_STRANGERS + 2


def test_a_message_that_was_sent_is_counted_with_its_error(metered: Metered, found: Metrics) -> None:
    """Sent, or not sent."""
    found.sent(JOB, 0.5, None, Context())
    found.sent(JOB, 0.25, "OSError", Context())
    send = {**SHARED, semconv.MESSAGING_OPERATION_NAME: "send"}
    error = {semconv.ERROR_TYPE: "OSError"}
    assert metered.values(meters.SENT) == [(send, 1), ({**send, **error}, 1)]
    typed = {**send, semconv.MESSAGING_OPERATION_TYPE: "send"}
    assert metered.sums(meters.SEND_DURATION) == [(typed, 1, 0.5), ({**typed, **error}, 1, 0.25)]


def test_a_duplicate_is_counted_by_its_task(metered: Metered, found: Metrics) -> None:
    """And not as a run: that it is anyway."""
    found.duplicate(JOB)
    assert metered.values(meters.DUPLICATES) == [(SHARED, 1)]
    assert metered.values(meters.RUNS) == []


def test_active_is_what_runs_now(metered: Metered) -> None:
    """It goes back to 0 and does not vanish."""
    made = telemetry.make(meter_provider=metered.provider, excluded_tasks=("shop.secret",))
    attempts.forget()
    waiting = attempts.open_attempt(made, lambda _: Incoming(JOB, {}, judge=lambda _: None))
    secret = JOB._replace(task="shop.secret")
    attempts.open_here(made, Incoming(secret, {}, judge=lambda _: None))
    assert metered.values(meters.ACTIVE) == []
    running = attempts.open_here(made, Incoming(JOB, {}, judge=lambda _: None))
    running.accepted = time.time_ns() - 3 * SECOND
    assert metered.values(meters.ACTIVE) == [(SHARED, 1)]
    ((about, age),) = metered.values(meters.ACTIVE_MAX_AGE)
    assert about == {semconv.SYSTEM: "celery", semconv.TASK_NAME: "shop.pay"}
    assert 3 <= age < 10
    for attempt in (running, waiting):
        attempts.settle(attempt)
    assert metered.values(meters.ACTIVE) == [(SHARED, 0)]
    assert metered.values(meters.ACTIVE_MAX_AGE) == [(about, 0)]
    attempts.forget()


def test_a_forked_process_has_counted_nothing(metered: Metered, found: Metrics) -> None:
    """What it inherited is its parent's."""
    found.ended(DONE)
    found.duplicate(JOB)
    found.clear()
    for metric in (meters.CONSUMED, meters.RUNS, meters.DUPLICATES):
        assert metered.values(metric) == []
