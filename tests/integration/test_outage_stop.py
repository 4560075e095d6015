"""A collector that is dead or hangs: worker and client end as fast as without us, and work as fast."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from support.client import Client
from support.delivery import DeliveryHarness, StartDelivery
from support.otlp import Behaviour, Receiver

LONG_DELAY = 60.0
#: What the promise allows (one second), and what a shared machine may add to a stop.
ALLOWED, NOISE = 1.0, 0.4
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


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_worker_stops_at_most_a_second_later(start_delivery: StartDelivery, protocol: str) -> None:
    """Beside a worker without any telemetry, in the same run; in the midst of an export or before it."""
    bare = start_delivery(instrumented=False)
    without = with_jobs(bare).stop_worker()  # right after its jobs, as the others: Celery itself differs
    seen = {}
    for name, delay in (("dead", 0.1), ("hanging", 0.1), ("hanging", LONG_DELAY)):
        with SICK[name](protocol) as receiver:
            worker = start_delivery(to=receiver, batch_delay=delay, client_of=bare)
            seen[name, delay] = with_jobs(worker).stop_worker()
            worker.check_quiet()
    print(f"bare {without.seconds:.2f} s", {case: f"{end.seconds:.2f}" for case, end in seen.items()})
    assert not any(stopped.killed for stopped in seen.values())
    latest = without.seconds + ALLOWED + NOISE
    assert all(stopped.seconds <= latest for stopped in seen.values()), (without, seen)


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
    return stopped.seconds


def test_a_client_ends_at_most_a_second_later(start_delivery: StartDelivery) -> None:
    """Whatever the protocol and the collector, beside a client without telemetry."""
    worker = start_delivery(instrumented=False)
    without = exit_seconds(worker, {}, instrumented=False)
    seen = {}
    for protocol in ("http/protobuf", "grpc"):
        for name, collector in SICK.items():
            with collector(protocol) as receiver:
                seen[protocol, name] = exit_seconds(worker, receiver.env(), instrumented=True)
    print(f"bare {without:.2f} s", {case: f"{seconds:.2f}" for case, seconds in seen.items()})
    late = {case: seconds for case, seconds in seen.items() if seconds > without + ALLOWED + NOISE}
    assert not late, (without, seen)


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
