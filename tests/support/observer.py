"""`otel-taskqueue observe` as a process, and what it has exported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.report import OBSERVED
from support.env import base_env, script
from support.otlp import Receiver
from support.otlp.model import MetricPoint
from support.process import RealProcess
from support.servers import RedisServer
from support.wait import wait_for

#: Resource attribute by which the tests tell instances apart; to a backend they are one.
WHO = "observer.of.the.test"


def command(*arguments: str) -> list[str]:
    """The command line."""
    return [script("otel-taskqueue"), "observe", *arguments]


def start(folder: Path, *arguments: str, name: str = "observer", **env: str) -> RealProcess:
    """Start one; without an exporter in ``env`` it prints tables."""
    own = {"OTEL_RESOURCE_ATTRIBUTES": f"{WHO}={name}", **env}
    return RealProcess(name, command(*arguments), env=base_env(**own), log=folder / f"{name}.log", cwd=folder)


def once(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(*arguments), env=base_env(**env), capture_output=True, text=True, timeout=60, check=False
    )


def enqueue(broker: str, *orders: Mapping[str, Any], conf: Mapping[str, Any] | None = None) -> None:
    """Enqueue Celery tasks from an instrumented process."""
    env = base_env(TASKQUEUE_TEST_BROKER=broker, TASKQUEUE_TEST_CONF=json.dumps(conf or {}))
    argv = [sys.executable, "-m", "support.apps.observed", json.dumps(orders)]
    subprocess.run(argv, env=env, check=True, timeout=60)


def worker(
    folder: Path, broker: str, *arguments: str, name: str = "w1@test", conf: Mapping[str, Any] | None = None
) -> RealProcess:
    """Start a Celery worker of the observed application and wait until it is ready."""
    argv = [script("celery"), "-A", "support.apps.observed", "worker", "-n", name, "-l", "INFO"]
    env = base_env(TASKQUEUE_TEST_BROKER=broker, TASKQUEUE_TEST_CONF=json.dumps(conf or {}))
    process = RealProcess(
        name, [*argv, "--without-gossip", "--without-mingle", *arguments], env=env, log=folder / f"{name}.log"
    )
    process.wait_for_line(rf"{name} ready\.")
    return process


def empty(server: RedisServer) -> None:
    """Forget every job, and that no observer has led here before."""
    with redis.Redis.from_url(server.url()) as client:
        client.flushdb()
        client.mset({"otel-taskqueue:observe:celery:term": 7, "otel-taskqueue:observe:rq:term": 7})


def check_attributes(points: Iterable[MetricPoint]) -> None:
    """Each point is of a metric of the table, with exactly the attributes that this one gives it.

    An observer knows all of them; none of them is optional to it.
    """
    wanted = {metric.name: set(metric.attributes) for metric in OBSERVED}
    wrong = [f"{point.name} {sorted(point.attributes)}" for point in points if not _fits(point, wanted)]
    assert not wrong, sorted(set(wrong))


def _fits(point: MetricPoint, wanted: Mapping[str, set[str]]) -> bool:
    return set(point.attributes) == wanted.get(point.name)


class Board:
    """The gauges of the latest export; whatever an observer has exported agrees with the table of metrics."""

    def __init__(self, points: Sequence[MetricPoint]) -> None:
        check_attributes(points)
        newest = max((point.time for point in points), default=0)
        self.points = [point for point in points if point.time == newest]

    def sizes(self, queue: str) -> dict[str, float]:
        """Jobs by state."""
        return {
            point.attributes[semconv.QUEUE_STATE]: point.value or 0
            for point in self.points
            if point.name == meters.QUEUE_SIZE.name and _queue(point) == queue
        }

    def one(self, metric: meters.Metric, queue: str) -> float | None:
        """The value of a queue's gauge, None when there is none."""
        found = [point.value for point in self.points if point.name == metric.name and _queue(point) == queue]
        assert len(found) <= 1, found
        return found[0] if found else None

    def age(self, queue: str) -> float | None:
        """Seconds the oldest ready job has waited."""
        return self.one(meters.QUEUE_OLDEST_AGE, queue)

    def workers(self, queue: str) -> float | None:
        """Workers of a queue."""
        return self.one(meters.QUEUE_WORKERS, queue)

    def heartbeats(self) -> dict[str, float]:
        """The age of each worker's last heartbeat."""
        return {
            point.attributes[semconv.WORKER_NAME]: point.value or 0.0
            for point in self.points
            if point.name == meters.HEARTBEAT_AGE.name
        }

    def __str__(self) -> str:
        """For failures."""
        return "\n".join(f"{point.name} {dict(point.attributes)} {point.value}" for point in self.points)


def latest(receiver: Receiver) -> Board:
    """What a dashboard shows now."""
    return Board(receiver.metrics())


def wait_for_board(receiver: Receiver, accept: Any, what: str, timeout: float = 30.0) -> Board:
    """The first export that ``accept`` takes."""

    def look() -> Board | None:
        board = latest(receiver)
        return board if board.points and accept(board) else None

    return wait_for(look, timeout, what, lambda: f"\n{latest(receiver)}")


def reporters(receiver: Receiver) -> list[tuple[int, str]]:
    """Who exported when (unix nanoseconds of the look), in order of arrival."""
    found: list[tuple[int, str]] = []
    points = receiver.metrics()
    check_attributes(points)
    for point in points:
        report = (point.time, str(point.resource.attributes[WHO]))
        if not found or found[-1] != report:
            found.append(report)
    return found


def _queue(point: MetricPoint) -> Any:
    return point.attributes.get(semconv.MESSAGING_DESTINATION_NAME)
