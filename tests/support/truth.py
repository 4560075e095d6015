"""A Celery worker whose metrics are compared with what is known to have happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from support import counting
from support.celery_harness import CeleryHarness
from support.harness import Broker, Options
from support.otlp import Receiver
from support.planned import PlanLine

APP = "support.apps.truth_celery"
RUNS = counting.RUNS
#: The task's name, where a message names none.
NAMELESS = "unknown"


@dataclass(frozen=True, slots=True)
class Line(PlanLine):
    """One line of a plan for Celery.

    Args:
        started: how many of the attempts a process began.
        measured: how many told what they used (a killed child cannot; None: it may).
        first_known: whether the message says when it was enqueued (garbage does not).
        finals: how many of the ends are final.
    """

    started: int | None = None
    measured: int | None = -1
    first_known: bool = True
    finals: int = 1

    @property
    def name(self) -> str:
        """``taskqueue.task.name``."""
        own = "." not in self.task and self.task != NAMELESS
        return f"{APP}.{self.task}" if own else self.task

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


class TruthHarness(counting.Counting, CeleryHarness):
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
