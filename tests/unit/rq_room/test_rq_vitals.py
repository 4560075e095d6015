"""What a worker's parent tells of itself and of its work-horses, without a Redis or a fork."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from rq.job import Job

from otel_taskqueue import Settings, meters, semconv
from otel_taskqueue.core import telemetry as _telemetry
from otel_taskqueue.core.telemetry import Telemetry
from otel_taskqueue.rq import vitals, watch

try:
    from rq.exceptions import StopRequested
except ImportError:  # it has moved
    from rq.worker import StopRequested

USAGE = SimpleNamespace(ru_utime=0.2, ru_stime=0.1, ru_maxrss=1000)


class Parent(SimpleNamespace):
    """As much of a worker as the wrappers need; ``ending`` is what it sees of its work-horse."""

    def __init__(self, **values: Any) -> None:
        self.reader = InMemoryMetricReader()
        self.telemetry: Telemetry = _telemetry.make(
            tracer_provider=TracerProvider(),
            meter_provider=MeterProvider([self.reader]),
            settings=Settings(relay=False),
        )
        super().__init__(name="w-1", **values)

    def execute(self, job: Job, end: Any) -> None:
        """The steps of `Worker.execute_job`; ``end(self, wait, killed)`` stands for the monitoring."""
        wrapped = {
            name: wrapper(self.telemetry)
            for name, wrapper in (
                ("fork", watch.fork_work_horse),
                ("wait", watch.wait_for_horse),
                ("killed", watch.work_horse_killed),
            )
        }

        def original(worker: Parent, job: Job) -> None:
            wrapped["fork"](lambda *_: None)(worker, job)
            end(worker, wrapped["wait"], wrapped["killed"])

        watch.execute_job(self.telemetry)(original)(self, job)

    def points(self, name: str) -> dict[Any, Any]:
        """Values (of histograms: sums) by the attribute that tells most."""
        found: Counter[Any] = Counter()
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in (metric for metric in scope.metrics if metric.name == name):
                    for point in metric.data.data_points:
                        attributes = point.attributes
                        key = attributes.get(semconv.EXIT_REASON) or attributes.get(semconv.TASK_OUTCOME)
                        found[key] += getattr(point, "value", None) or getattr(point, "sum", 0)
        return dict(found)


def job() -> Job:
    """A job that nobody has sent."""
    return Job.create(len, args=([],), connection=redis.Redis(), origin="orders")


def test_killed_by_its_parent_a_minute_after_the_timeout() -> None:
    """RQ throws away what it waited for: `handle_work_horse_killed` hears of no pid, we know better."""
    parent, late = Parent(), job()

    def overdue(worker: Parent, wait: Any, killed: Any) -> None:
        wait(lambda _worker: (1, int(signal.SIGKILL), USAGE))(worker)
        killed(lambda *_: None)(worker, late, None, None, None)

    parent.execute(late, overdue)
    assert parent.points(meters.WORKER_EXITS.name) == {"time_limit": 1}
    assert parent.points(meters.RUNS.name) == {"timeout": 1}
    assert parent.points(meters.CPU_TIME.name) == {None: pytest.approx(0.3)}


def test_killed_by_somebody_else() -> None:
    """The same signal, but RQ has heard of it."""
    parent, killed_job = Parent(), job()

    def by_signal(worker: Parent, wait: Any, killed: Any) -> None:
        wait(lambda _worker: (1, int(signal.SIGKILL), USAGE))(worker)
        killed(lambda *_: None)(worker, killed_job, 1, int(signal.SIGKILL), USAGE)

    parent.execute(killed_job, by_signal)
    assert parent.points(meters.WORKER_EXITS.name) == {"SIGKILL": 1}
    assert parent.points(meters.RUNS.name) == {"lost": 1}


@pytest.mark.parametrize(
    ("error", "up"),
    [
        (None, 0),
        (StopRequested(), 0),
        (redis.TimeoutError(), 1),
        (redis.ConnectionError(), 1),
        (ValueError(), 1),
    ],
    ids=["burst", "stop", "timeout of Redis", "no Redis", "a fault"],
)
def test_a_worker_that_an_error_ended_stays_up(error: Exception | None, up: int) -> None:
    """RQ's loop swallows what ends it, and returns as if it had been asked to stop."""
    parent = Parent()

    def dequeue(_worker: Parent) -> None:
        if error is not None:
            raise error

    with vitals.running(parent.telemetry, parent):
        assert parent.points(meters.WORKER_UP.name) == {None: 1}
        with suppress(Exception):  # as RQ does
            vitals.dequeue(parent.telemetry)(dequeue)(parent)
    assert parent.points(meters.WORKER_UP.name) == {None: up}


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt()])
def test_a_cold_stop_is_a_stop(error: BaseException) -> None:
    """It leaves `work` as an exception."""
    parent = Parent()
    with pytest.raises(type(error)), vitals.running(parent.telemetry, parent):
        raise error
    assert parent.points(meters.WORKER_UP.name) == {None: 0}
