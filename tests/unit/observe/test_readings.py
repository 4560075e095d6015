"""Ages, times and names out of what brokers store; what is not known makes no reading."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.queue_readings import READY, QueueState
from otel_taskqueue.observe.redis_celery import oldest_age, ready_at
from otel_taskqueue.observe.rq_workers import unix
from otel_taskqueue.observe.seen import FORGET, LIMIT, LastSeen

NOW = 1_700_000_000.0


def message(sent: float | None = None, eta: float | None = None) -> str:
    """A message as kombu stores it; times are seconds from now."""
    headers: dict[str, Any] = {"id": "1", "eta": None}
    if sent is not None:
        headers[semconv.ENQUEUED_AT] = str(int((NOW + sent) * 1e9))
    if eta is not None:
        when = datetime.fromtimestamp(NOW, timezone.utc) + timedelta(seconds=eta)
        headers["eta"] = when.isoformat()
    return json.dumps({"body": "", "headers": headers, "properties": {}})


@pytest.mark.parametrize(
    ("messages", "length", "age"),
    [
        ([], 0, 0.0),
        ([message(-30)], 1, 30.0),
        ([message(-30), message(-90)], 5, 90.0),  # put back at the end: not in order
        ([message(-90, eta=-20)], 1, 20.0),  # it waits since it is due
        ([message(-90, eta=20)], 1, 0.0),  # nothing is due
        ([message(-90, eta=20)], 2, None),  # and of the other nothing is known
        ([message(-90, eta=20), message(-10)], 2, 10.0),
        ([message()], 1, None),
        ([message(), message(-10)], 9, 10.0),  # at least that
        (["no JSON"], 1, None),
        (["[]"], 1, None),
        ([json.dumps({"headers": {"eta": 7, semconv.ENQUEUED_AT: 7}})], 1, None),
    ],
)
def test_the_oldest_job_that_is_due_gives_the_age(
    messages: list[str], length: int, age: float | None
) -> None:
    """0 where nothing waits, None where nothing is known."""
    assert age == oldest_age([ready_at(message) for message in messages], length, NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"2023-11-14T22:13:20.000000Z", NOW),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20", NOW),
        (b"soon", None),
        (None, None),
    ],
)
def test_the_times_of_rq_are_utc(text: Any, seconds: float | None) -> None:
    """With and without fraction and zone."""
    assert seconds == unix(text)


def test_what_is_not_known_of_a_queue_makes_no_reading() -> None:
    """Neither 0 nor nothing at all: the rest is there."""
    state = QueueState("mail", {READY: 3})
    (reading,) = state.readings("redis", semconv.CELERY)
    assert (meters.QUEUE_SIZE, 3) == (reading.metric, reading.value)
    assert "mail" == reading.attributes[semconv.MESSAGING_DESTINATION_NAME]
    everything = list(QueueState("mail", {READY: 0}, -0.5, 0).readings("redis", semconv.CELERY))
    assert [0, 0, 0] == [reading.value for reading in everything]  # a clock ahead makes no negative age


def test_a_silent_worker_is_forgotten_after_an_hour_and_one_that_says_goodbye_at_once() -> None:
    """Its age grows until then."""
    seen = LastSeen(semconv.RQ)
    for name in ("killed", "stopped"):
        seen.seen(name, NOW)
    seen.gone("stopped")
    (reading,) = seen.readings(NOW + FORGET)
    assert ("killed", FORGET) == (reading.attributes[semconv.WORKER_NAME], reading.value)
    assert [] == list(seen.readings(NOW + FORGET + 1))
    assert set() == seen.names()


def test_workers_that_come_and_go_do_not_fill_the_memory() -> None:
    """The one silent for longest goes first."""
    seen = LastSeen(semconv.RQ)
    for number in range(LIMIT + 5):
        seen.seen(f"w{number}", NOW + number)
    assert len(seen.names()) == LIMIT
    assert "w4" not in seen.names()
    assert "w5" in seen.names()
