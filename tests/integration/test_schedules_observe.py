"""`otel-taskqueue observe` reports the schedules of a beat that runs, wherever it tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_taskqueue import meters, semconv
from support import observer
from support.otlp import Receiver
from support.scheduling import beat, client_of, told, wait_for_run
from support.servers import RedisServer
from support.wait import wait_for

MEMORY = "otel-taskqueue:schedule:judged:celery"


def points(receiver: Receiver, metric: meters.Metric) -> dict[str, Any]:
    """The latest export of a metric, by schedule."""
    everything = receiver.metrics()
    observer.check_attributes(everything)
    found = [point for point in everything if point.name == metric.name]
    newest = max((point.time for point in found), default=0)
    return {point.attributes[semconv.SCHEDULE_NAME]: point for point in found if point.time == newest}


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_last_runs_delays_and_missed_runs_are_exported(
    broker: str, redis_server: RedisServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """From the broker's Redis, or the one that is named; the counter of missed runs begins with 0."""
    url, named = redis_server.url(), []
    if broker == "rabbitmq":
        url, named = request.getfixturevalue("rabbit_server").url(), ["--schedules", redis_server.url()]
    with client_of(redis_server) as client, Receiver() as receiver, Receiver() as elsewhere:
        observer.empty(redis_server)
        process = beat(tmp_path, elsewhere, url, {"tick": 0.5}, backend=redis_server.url())
        with process:
            wait_for_run(client, "celery:shop", "tick", process)
            arguments = ["--broker", url, "--queue", "ticks", "--interval", "1", *named]
            with observer.start(tmp_path, *arguments, **receiver.env()) as observing:
                wait_for(lambda: points(receiver, meters.SCHEDULE_LAG), 40, "delays of runs", observing.tail)
                last = told(client, "celery:shop")["tick"].last_run or 0.0
                wait_for(
                    lambda: points(receiver, meters.SCHEDULE_LAST_RUN)["tick"].value > last,
                    20,
                    "a later run",
                    observing.tail,
                )
            missed = points(receiver, meters.SCHEDULE_MISSED)["tick"]
        assert (missed.value, dict(missed.attributes)) == (
            0,
            {semconv.SYSTEM: "celery", semconv.SCHEDULE_NAME: "tick"},
        )
        # Several brokers, each with a leader of its own, may have their schedules in one Redis.
        assert client.keys(f"{MEMORY}@amqp://*" if named else MEMORY)


def test_a_single_look_counts_nothing_away_from_the_leader(
    redis_server: RedisServer, tmp_path: Path, receiver: Receiver
) -> None:
    """`--once` is for people: the leader's memory stays as it is."""
    with client_of(redis_server) as client:
        process = beat(tmp_path, receiver, redis_server.url(), {"tick": 0.5})
        with process:
            wait_for_run(client, "celery:shop", "tick", process)
            done = observer.once("--broker", redis_server.url(), "--queue", "ticks", "--once")
        assert (0, 0) == (done.returncode, client.exists(MEMORY))
