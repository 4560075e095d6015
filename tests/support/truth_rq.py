"""RQ workers whose metrics are compared with what is known to have happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from support.counting import Counting
from support.env import script
from support.harness import Broker, Options
from support.otlp import Receiver
from support.planned import PlanLine
from support.process import RealProcess, Stopped
from support.rq_harness import WORKER_CLASSES, RQHarness
from support.wait import wait_for

JOBS = "support.apps.truth_rq."
POOL = "worker-pool"
CLASSES = {
    **WORKER_CLASSES,
    "stripped": "support.apps.truth_rq_stripped.StrippingWorker",
    "clumsy": "support.apps.truth_rq.ClumsyWorker",
}


@dataclass(frozen=True, slots=True)
class Line(PlanLine):
    """One line of a plan for RQ.

    Args:
        exits: why the work-horse of each attempt ended; empty: all by themselves.
        told: how many work-horses of one job could say how their attempt went (None: those which
            ended by themselves).
    """

    exits: tuple[str, ...] = ()
    told: int | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why each work-horse of one job ended."""
        return self.exits or ("ok",) * len(self.ends)

    @property
    def tellers(self) -> int:
        """How many work-horses of one job could tell."""
        return self.reasons.count("ok") if self.told is None else self.told

    @property
    def name(self) -> str:
        """``taskqueue.task.name``; a payload that cannot be read is known by its description."""
        if self.task == "corrupt":
            return f"{JOBS}succeed"
        return self.task if "." in self.task else JOBS + self.task


class RQTruth(Counting, RQHarness):
    """``options.concurrency`` workers side by side on one queue, which export their metrics often."""

    client_module: ClassVar[str] = "support.apps.truth_rq_client"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.others: list[RealProcess] = []

    @property
    def names(self) -> list[str]:
        """The names of all workers."""
        return [f"{self.worker_name}-{number}" for number in range(self.options.concurrency)]

    def env(self, service: str) -> dict[str, str]:
        """Spans of Redis calls would be in the way; without the rest spawned work-horses start sooner."""
        return {
            **super().env(service),
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis,asgi,celery,fastapi,pika",
        }

    def worker_command(self, number: int = 0) -> Sequence[str]:
        """The first worker, or one beside it."""
        where = ["--url", self.broker.url]
        if self.pool == POOL:
            return [script("rq"), POOL, *where, "-n", str(self.options.concurrency), self.queue]
        kind = ["--name", self.names[number], "--worker-class", CLASSES[self.pool]]
        return [script("rq"), "worker", *where, *kind, *self.options.arguments, self.queue]

    def launch(self) -> RealProcess:
        """Start them all."""
        first = super().launch()
        beside = 0 if self.pool == POOL else self.options.concurrency - 1
        for number in range(1, beside + 1):
            self.others.append(
                RealProcess(
                    f"worker {self.names[number]}",
                    [script("opentelemetry-instrument"), *self.worker_command(number)],
                    env={**self.env(self.worker_service), **self.options.env},
                    log=self.directory / f"worker-{number}.log",
                    cwd=self.directory,
                )
            )
        return first

    def stop_worker(self, timeout: float = 30.0) -> Stopped:
        """Stop all of them warmly."""
        stopped = super().stop_worker(timeout)
        found = [stopped, *(other.stop(timeout=timeout) for other in self.others)]
        return next((each for each in found if each.killed), stopped)

    def stop(self) -> None:
        """Stop what was started."""
        for other in self.others:
            other.stop()
        super().stop()

    def wait_for_value(self, name: str, accept: Any, timeout: float = 15.0, **attributes: Any) -> float:
        """Wait until a metric has a value (or one that a function takes); the value."""
        takes = accept if callable(accept) else lambda value: value == accept

        def found() -> bool:
            value = self.series.value(name, **attributes)
            return value is not None and takes(value)

        wait_for(found, timeout, f"{name} {attributes}", lambda: f"{self.last(name)}\n{self.explain()}")
        return self.series.value(name, **attributes) or 0.0

    def last(self, name: str) -> list[tuple[Any, ...]]:
        """A metric as it is, for failure messages."""
        return [(dict(point.attributes), point.value, point.count) for point in self.series.last(name)]


@contextmanager
def running_truth_rq(
    broker: Broker, directory: Path, pool: str = "fork", **options: Any
) -> Iterator[RQTruth]:
    """Workers with their own receiver; gone at the end whatever happens."""
    chosen = Options(**{"concurrency": 1, **options})
    with (
        Receiver() as receiver,
        RQTruth(broker, receiver, directory, pool=pool, options=chosen) as workers,
    ):
        assert isinstance(workers, RQTruth)
        yield workers
