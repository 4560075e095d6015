"""Plans of jobs of which it is known how each attempt ends, beside what the workers have counted."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from otel_taskqueue import meters, semconv
from support.counting import Counting
from support.otlp.series import Series
from support.wait import NotInTimeError

TABLE = "OTEL_TASKQUEUE_TRUTH_TABLE"
ORDER = "support.apps.errors.OrderError"
TRANSIENT = "support.apps.errors.TransientError"
RETRY, SUCCESS = ("retry", None), ("success", None)
NAP = 0.1
#: What points may carry: those of attempts and jobs, and those of the workers themselves.
OF_ATTEMPTS = {
    semconv.MESSAGING_SYSTEM,
    semconv.SYSTEM,
    semconv.MESSAGING_DESTINATION_NAME,
    semconv.TASK_NAME,
    semconv.MESSAGING_OPERATION_NAME,
    semconv.MESSAGING_OPERATION_TYPE,
    semconv.TASK_OUTCOME,
    semconv.ERROR_TYPE,
    semconv.FAILURE_CATEGORY,
}
OF_WORKERS = {semconv.SYSTEM, semconv.WORKER_NAME, semconv.EXIT_REASON}
Runs = Counter[tuple[str, str, str | None]]


@dataclass(frozen=True, slots=True)
class PlanLine(ABC):
    """So many jobs of a task, and how each of their attempts ends.

    Args:
        label: what it is called in the table.
        ends: outcome and ``error.type`` of each attempt of one job, in order.
    """

    label: str
    task: str
    count: int
    ends: tuple[tuple[str, str | None], ...]
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    @abstractmethod
    def name(self) -> str:
        """``taskqueue.task.name``."""


WorkerT = TypeVar("WorkerT", bound=Counting)
LineT = TypeVar("LineT", bound=PlanLine)


class PlanTruth(ABC, Generic[WorkerT, LineT]):
    """Workers that have done the jobs of a plan and were stopped, what they exported, and what is true."""

    def __init__(self, worker: WorkerT, lines: Sequence[LineT], patience: float) -> None:
        self.worker = worker
        self.pool = worker.pool
        self.lines = lines
        self.ids = self.enqueue()
        with suppress(NotInTimeError):  # the tests say what is missing
            worker.wait_for_runs(sum(self.runs.values()), patience)
        assert not worker.stop_worker().killed, worker.explain()
        self.series: Series = worker.series

    def enqueue(self) -> list[str]:
        """Enqueue all jobs; their ids."""
        return self.worker.enqueue_plan(
            [(line.task, line.count, line.args, line.options) for line in self.lines]
        )

    @property
    def runs(self) -> Runs:
        """Attempts by task, outcome and error."""
        found: Runs = Counter()
        for line in self.lines:
            for outcome, error in line.ends:
                found[line.name, outcome, error] += line.count
        return found

    @property
    def deliveries(self) -> Counter[str]:
        """Attempts by task."""
        found: Counter[str] = Counter()
        for (name, _outcome, _error), count in self.runs.items():
            found[name] += count
        return found

    def total(self, of_one: Callable[[LineT], int]) -> int:
        """A sum over all jobs."""
        return sum(line.count * of_one(line) for line in self.lines)

    def counted(self) -> Runs:
        """Attempts as they were counted."""
        return self.series.by(meters.RUNS.name, semconv.TASK_NAME, semconv.TASK_OUTCOME, semconv.ERROR_TYPE)

    def strange_keys(self) -> set[str]:
        """Attributes of our points that the tables of the metrics do not know."""
        own = {metric.name for metric in meters.TABLE} - {meters.DROPPED.name}
        of_workers = {name for name in own if name.startswith("taskqueue.worker.")}
        keys = self.series.attribute_keys
        return (keys(lambda name: name in own - of_workers) - OF_ATTEMPTS) | (
            keys(lambda name: name in of_workers) - OF_WORKERS
        )

    def write_table(self) -> None:
        """Append what was expected and counted to the file that is asked for."""
        target = os.environ.get(TABLE)
        if not target:
            return
        path, rows = Path(target), list(self.rows())
        if not path.exists():
            head = "| pool | task | outcome | error.type | expected | counted |"
            rows = [head, "|---|---|---|---|---|---|", *rows]
        with path.open("a") as file:
            file.write("\n".join(rows) + "\n")

    def rows(self) -> Iterator[str]:
        """The lines of the table."""
        counted, expected = self.counted(), self.runs
        for key in sorted({*counted, *expected}, key=str):
            name, outcome, error = key
            task = name.rpartition(".")[2]
            yield f"| {self.pool} | {task} | {outcome} | {error or ''} | {expected[key]} | {counted[key]} |"
