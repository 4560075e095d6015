"""What we read from an RQ job, and what we put into it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from otel_taskqueue import semconv
from otel_taskqueue.rq import compat, notes
from otel_taskqueue.rq import job as rq_job
from otel_taskqueue.settings import Settings

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Job:
    """As much of a job as is asked for."""

    def __init__(self, **values: Any) -> None:
        self.id = "j1"
        self.meta: Any = {}
        self.origin = "q"
        self.description: str | None = None
        self.func_name: Any = "shop.orders.ship"
        self.instance: Any = None
        self.enqueued_at: datetime | None = None
        self.connection = redis.Redis(host="redis.example", port=6380, password="hidden")
        self.__dict__.update(values)


class Unreadable(Job):
    """A job whose payload nobody can read."""

    def __init__(self, **values: Any) -> None:
        values["func_name"] = None
        super().__init__(**values)
        del self.func_name

    def __getattr__(self, name: str) -> Any:
        if name == "func_name":
            message = "broken payload"
            raise ValueError(message)
        raise AttributeError(name)


class Order:
    """Has a method that is a job."""


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ({}, "shop.orders.ship"),
        ({"instance": Order(), "func_name": "ship"}, f"{__name__}.Order.ship"),
        ({"instance": Order, "func_name": "ship"}, f"{__name__}.Order.ship"),
        ({"func_name": None}, "unknown"),
    ],
)
def test_a_job_is_named_after_its_function(values: dict[str, Any], task: str) -> None:
    """The name of a method alone would tell nothing."""
    assert rq_job.task_of(Job(**values)) == task


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ({"meta": {"_otel": {"taskqueue-task": "carried.name"}}}, "carried.name"),
        ({"description": "shop.orders.ship(1, secret='x')"}, "shop.orders.ship"),
        ({"description": "the daily report"}, "unknown"),
        ({"meta": {"_otel": "no dict"}}, "unknown"),
        ({"meta": None}, "unknown"),
    ],
)
def test_a_payload_that_nobody_can_read_still_has_a_name(values: dict[str, Any], task: str) -> None:
    """From the carrier, else from RQ's own description."""
    assert rq_job.task_of(Unreadable(**values)) == task
    assert rq_job.known_task(Unreadable(**values)) == task


def test_the_carrier_goes_into_a_copy_of_the_meta() -> None:
    """The dict is the caller's."""
    mine = {"team": "shop"}
    job = Job(meta=mine)
    view = rq_job.of_publish(SimpleNamespace(connection=job.connection, name="q"), job, 3, None, Settings())
    rq_job.write_carrier(job, view, {"traceparent": TRACEPARENT})
    assert mine == {"team": "shop"}
    assert job.meta["team"] == "shop"
    assert rq_job.carrier_of(job) == {"traceparent": TRACEPARENT, semconv.ATTEMPT: "3"}
    assert rq_job.attempt_of(rq_job.carrier_of(job)) == 3


@pytest.mark.parametrize("text", ["", "0x1", "-1", "9" * 40, "٣"])
def test_an_attempt_number_that_is_none_counts_as_the_first(text: str) -> None:
    """Whoever may have written it."""
    assert rq_job.attempt_of({semconv.ATTEMPT: text}) == 1


def test_the_keys_of_otel_rq_are_read() -> None:
    """It writes them to the top level of meta."""
    assert rq_job.carrier_of(Job(meta={"traceparent": TRACEPARENT})) == {"traceparent": TRACEPARENT}


@pytest.mark.parametrize(
    ("packed", "told"),
    [
        ("2026-11-22T10:00:00+00:00", True),
        ("2026-11-22T10:00:00.123456Z", True),
        ("2026-11-22", False),
        ("soon", False),
        pytest.param("x" * 65536, False, id="64 KiB"),
        pytest.param("2026-11-22T10:00:00+00:00" + "0" * 65536, False, id="a time and 64 KiB"),
        ("٢٠٢٦-11-22T10:00:00Z", False),
        ({"a": 1}, False),
        (17, False),
        (None, False),
    ],
)
def test_only_a_time_is_told_as_the_eta(packed: Any, *, told: bool) -> None:
    """Anybody can write anything of any length into a job's meta."""
    job = Job(meta={"_otel": {semconv.CARRIER_ETA: packed}})
    assert rq_job.of_watch(job, {}, "w").eta == (packed if told else None)


def test_our_own_eta_is_understood() -> None:
    """With and without a zone, with and without microseconds."""
    for moment in (datetime(2026, 11, 22, tzinfo=timezone.utc), datetime.now()):  # noqa: DTZ005  RQ takes both
        eta = rq_job.rfc3339(moment)
        assert rq_job.eta_of(Job(meta={"_otel": {semconv.CARRIER_ETA: eta}})) == eta
        assert eta is not None


def test_a_carrier_that_was_run_before_came_back() -> None:
    """Only the very same one, by the time when it was written."""
    job = Job()
    notes.of_job(job).ran = "1700000000000000000"
    assert rq_job.came_back(job, {semconv.ENQUEUED_AT: "1700000000000000000"})
    assert not rq_job.came_back(job, {semconv.ENQUEUED_AT: "1700000000000000001"})
    assert not rq_job.came_back(job, {})


def test_the_broker_is_told_without_its_password() -> None:
    """Address and port of a connection, the path of a socket."""
    assert rq_job.broker_of(Job().connection) == ("redis", "redis.example", 6380)
    socket = redis.Redis(unix_socket_path="/run/redis.sock")
    assert rq_job.broker_of(socket) == ("redis", "/run/redis.sock", None)


def test_the_wait_counts_from_the_time_when_the_job_came_into_the_queue() -> None:
    """RQ sets it again when a delayed job is due; RQ before 2.0 writes UTC without a zone."""
    aware = datetime.now(timezone.utc) - timedelta(seconds=5)
    for moment in (aware, aware.replace(tzinfo=None)):
        view = rq_job.of_watch(Job(enqueued_at=moment), {}, "w")
        assert view.wait is not None
        assert 5 <= view.wait < 6
    assert compat.nanoseconds(None) == 0


def test_arguments_stay_at_home_unless_asked_for() -> None:
    """And are redacted then."""
    job = Job(args=("token=abc", 7), kwargs={"password": "x"})
    assert rq_job.of_run(job, {}, Settings(), "w").arguments is None
    shown = rq_job.of_run(job, {}, Settings(capture_arguments=True), "w").arguments
    assert shown is not None
    assert "abc" not in shown[0]
    assert "'x'" not in shown[1]
