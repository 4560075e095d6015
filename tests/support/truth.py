"""A Celery worker whose metrics are compared with what is known to have happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from support.celery_harness import CeleryHarness
from support.harness import Broker, Options
from support.otlp import Receiver
from support.otlp.series import Series
from support.wait import wait_for

APP = "support.apps.truth_celery"
RUNS = "taskqueue.task.runs"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plan: so many jobs of a task, and how each of its attempts ends.

    Args:
        label: what it is called in the table.
        ends: outcome and ``error.type`` of each attempt of one job, in order.
        started: how many of these attempts a process began.
        measured: how many told what they used (a killed child cannot; None: it may).
        jobs: whether it is a job with an id and a time (garbage is none).
        finals: how many of the ends are final.
    """

    label: str
    task: str
    count: int
    ends: tuple[tuple[str, str | None], ...]
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    started: int | None = None
    measured: int | None = -1
    first_known: bool = True
    finals: int = 1

    @property
    def begun(self) -> int:
        """How many attempts of one job a process began."""
        return len(self.ends) if self.started is None else self.started

    @property
    def known_finals(self) -> int:
        """How many of the final ends belong to a message that says when it was enqueued."""
        return self.finals if self.first_known else 0

    @property
    def told(self) -> int | None:
        """How many attempts of one job told what they used."""
        return self.begun if self.measured == -1 else self.measured


class TruthHarness(CeleryHarness):
    """A worker of ``truth_celery`` which exports its metrics often."""

    client_module: ClassVar[str] = "support.apps.truth_celery_client"

    def __init__(self, *args: Any, options: Options | None = None, **kwargs: Any) -> None:
        options = options or Options()
        super().__init__(*args, options=replace(options, app=options.app or APP), **kwargs)

    def env(self, service: str) -> dict[str, str]:
        """Spans of the client's own Redis calls would only be in the way."""
        return {
            **super().env(service),
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis",
        }

    def enqueue(self, task: str, count: int = 1, *args: Any, **options: Any) -> list[str]:
        """Enqueue so many jobs of a task."""
        return self.enqueue_plan([(task, count, args, options)])

    def enqueue_plan(self, plan: Sequence[tuple[str, int, Sequence[Any], Mapping[str, Any]]]) -> list[str]:
        """Enqueue a plan; the ids in its order."""
        lines = [[task, count, list(args), dict(options)] for task, count, args, options in plan]
        reply = self.client.call("enqueue", lines, request=None, timeout=60)
        assert reply.error is None, reply.error
        return reply.result

    @property
    def series(self) -> Series:
        """The worker's metrics as they are now."""
        return Series(self.receiver.metrics(), self.worker_service)

    @property
    def client_series(self) -> Series:
        """The client's metrics as they are now."""
        return Series(self.receiver.metrics(), self.client_service)

    def wait_for_runs(self, count: int, timeout: float = 60.0, **attributes: Any) -> Series:
        """Wait until so many attempts are counted."""

        def counted() -> float:
            points = [point for point in self.receiver.metrics() if point.name == RUNS]
            return Series(points, self.worker_service).value(RUNS, **attributes) or 0

        wait_for(
            lambda: counted() >= count,
            timeout,
            f"{count} runs {attributes}",
            lambda: (
                f"{self.series.by(RUNS, 'taskqueue.task.name', 'taskqueue.task.outcome')}\n{self.explain()}"
            ),
        )
        return self.series

    def lines(self, name: str) -> list[str]:
        """What the tasks and the children wrote into a file."""
        path = self.notes_directory / name
        return path.read_text().splitlines() if path.exists() else []


@contextmanager
def running_truth(
    broker: Broker, directory: Path, pool: str = "prefork", **options: Any
) -> Iterator[TruthHarness]:
    """A worker with its own receiver; gone at the end whatever happens."""
    with (
        Receiver() as receiver,
        TruthHarness(broker, receiver, directory, pool=pool, options=Options(**options)) as worker,
    ):
        assert isinstance(worker, TruthHarness)
        yield worker
        if worker.worker is not None:
            worker.worker.kill()  # a warm stop takes seconds; tests that want one ask for it
