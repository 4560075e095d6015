"""A collector that is dead or hangs: worker and client end as fast as without us, and work as fast."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import pytest

from support.client import Client
from support.delivery import DeliveryHarness, StartDelivery
from support.otlp import Behaviour, Receiver

LONG_DELAY = 60.0
#: What the promise allows (one second), and what a shared machine may add to a stop.
ALLOWED, NOISE = 1.0, 0.4
#: When a worker ends is a matter of chance, by a second: Celery's loop and billiard's supervisor sleep.
#: The shortest of its stops counts, and while that is too long there is one more round, up to these.
MOST_STOPS = 4
#: The collector, and after how many seconds spans are sent.
CASES = (("dead", 0.1), ("hanging", 0.1), ("hanging", LONG_DELAY))
#: gevent itself complains of the SDK when it starts: modules imported before it patched them, threads.
GREEN = ("gevent", "eventlet")
#: gRPC's own threads and greenlets do not go together.
KINDS = [
    ("prefork", "http/protobuf"),
    ("prefork", "grpc"),
    *((pool, "http/protobuf") for pool in ("threads", "solo", *GREEN)),
]
Case = TypeVar("Case")
JOBS = 20
BURST = 200
ENOUGH = 0.95
#: A machine that has other work to do disturbs rounds: then it takes more of them.
ROUNDS, MOST_ROUNDS = 5, 25


@contextmanager
def dead(protocol: str) -> Iterator[Receiver]:
    """A collector whose port is closed."""
    with Receiver(protocol) as receiver:
        receiver.stop()
        yield receiver


@contextmanager
def hanging(protocol: str) -> Iterator[Receiver]:
    """A collector that takes a request and never answers."""
    with Receiver(protocol) as receiver:
        receiver.behave(Behaviour.HANGING)
        yield receiver


SICK = {"dead": dead, "hanging": hanging}


def with_jobs(worker: DeliveryHarness) -> DeliveryHarness:
    """The worker after some jobs whose spans nobody takes."""
    worker.wait_until_done(worker.publish_many("steps", JOBS, 3))
    return worker


@pytest.mark.parametrize(("pool", "protocol"), KINDS)
def test_a_worker_stops_at_most_a_second_later(
    start_delivery: StartDelivery, pool: str, protocol: str
) -> None:
    """Beside workers without any telemetry, in the same run; in the midst of an export or before it."""
    client = start_delivery(instrumented=False)
    without: list[float] = []
    seen: dict[tuple[str, float], list[float]] = {case: [] for case in CASES}
    while len(without) < MOST_STOPS and (not without or late(without, seen)):
        without.append(seconds_to_stop(start_delivery(pool, instrumented=False, client_of=client)))
        for (name, delay), stops in seen.items():
            with SICK[name](protocol) as receiver:
                worker = start_delivery(pool, to=receiver, batch_delay=delay, client_of=client)
                stops.append(seconds_to_stop(worker))
                check_quiet(worker)
    print(pool, "bare", without, seen)
    assert not late(without, seen), (without, seen)


def check_quiet(worker: DeliveryHarness) -> None:
    """Nothing of ours has failed in the worker's log."""
    if worker.pool in GREEN:
        assert worker.worker is not None
        assert "telemetry of" not in worker.worker.output(), worker.explain()
    else:
        worker.check_quiet()


def seconds_to_stop(worker: DeliveryHarness) -> float:
    """Right after its jobs: Celery itself ends later when it has been idle."""
    stopped = with_jobs(worker).stop_worker()
    assert not stopped.killed, worker.explain()
    return round(stopped.seconds, 2)


def late(without: Sequence[float], seen: Mapping[Case, Sequence[float]]) -> list[Case]:
    """The cases whose shortest run took more than a second longer than the shortest without us."""
    latest = min(without) + ALLOWED + NOISE
    return [case for case, seconds in seen.items() if min(seconds) > latest]


def exit_seconds(worker: DeliveryHarness, env: dict[str, str], *, instrumented: bool) -> float:
    """How long a client takes to end after it has enqueued something."""
    queue = worker.queue
    client = Client(
        "support.apps.delivery_client",
        {**worker.env("client"), **env},
        worker.directory / f"client-{time.monotonic_ns()}.log",
        instrumented=instrumented,
    )
    client.call("publish_many", worker.task_name("ok"), 3, [], 0, queue)
    stopped = client.stop()
    assert not stopped.killed
    assert stopped.returncode == 0, client.process.tail()
    assert "Traceback" not in client.process.output(), client.process.output()
    return round(stopped.seconds, 2)


def test_a_client_ends_at_most_a_second_later(start_delivery: StartDelivery) -> None:
    """Whatever the protocol and the collector, beside a client without telemetry."""
    worker = start_delivery(instrumented=False)
    without: list[float] = []
    seen: dict[tuple[str, str], list[float]] = {
        (protocol, name): [] for protocol in ("http/protobuf", "grpc") for name in SICK
    }
    while len(without) < MOST_STOPS and (not without or late(without, seen)):
        without.append(exit_seconds(worker, {}, instrumented=False))
        for (protocol, name), ends in seen.items():
            with SICK[name](protocol) as receiver:
                ends.append(exit_seconds(worker, receiver.env(), instrumented=True))
    print("bare", without, seen)
    assert not late(without, seen), (without, seen)


def burst_seconds(worker: DeliveryHarness) -> float:
    """How long the worker takes for a burst of jobs that all wait already."""
    first = worker.publish("sleep", 0.3)
    worker.publish_many("plain", BURST, "value")
    last = worker.publish("ok")
    begun = worker.wait_for_note(first.id, "slept")["time"]
    return (worker.wait_for_note(last.id)["time"] - begun) / 1e9


def test_a_sick_collector_does_not_slow_jobs_down(start_delivery: StartDelivery) -> None:
    """At least 95 % of the jobs per second with a healthy one; the workers take turns."""
    http, grpc = "http/protobuf", "grpc"
    with Receiver(http) as healthy, dead(http) as gone, hanging(http) as stuck, hanging(grpc) as mute:
        first = start_delivery(to=healthy, concurrency=1)
        sick = [start_delivery(to=to, concurrency=1, client_of=first) for to in (gone, stuck, mute)]
        workers = (first, *sick)
        rounds: list[list[float]] = []
        while len(rounds) < MOST_ROUNDS and (len(rounds) < ROUNDS or min(shares(rounds)) < ENOUGH):
            rounds.append(in_turn(workers, len(rounds)))
        print(f"jobs per second, of those with a healthy collector: {shares(rounds)}")
        assert min(shares(rounds)) >= ENOUGH, rounds


def in_turn(workers: Sequence[DeliveryHarness], number: int) -> list[float]:
    """One burst for each worker; another one begins each time."""
    order = [(number + place) % len(workers) for place in range(len(workers))]
    seconds = {which: burst_seconds(workers[which]) for which in order}
    return [seconds[which] for which in range(len(workers))]


def shares(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The median of what each sick one reached of the healthy one's speed in the same round."""
    count = len(rounds[0])
    return [statistics.median(one[0] / one[which] for one in rounds) for which in range(1, count)]
