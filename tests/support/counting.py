"""Workers whose metrics are compared with what is known to have happened, whatever queue they serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from support.harness import Harness
from support.otlp.model import MetricPoint
from support.otlp.series import INSTANCE, Series
from support.wait import wait_for

RUNS = "taskqueue.task.runs"


class Counting(Harness):
    """Enqueues whole plans, and knows what was counted; a room's harness comes behind it as a base."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read = 0
        self._runs: dict[tuple[Any, ...], MetricPoint] = {}

    def enqueue(self, task: str, count: int = 1, *args: Any, **options: Any) -> list[str]:
        """Enqueue so many jobs of a task."""
        return self.enqueue_plan([(task, count, args, options)])

    def enqueue_plan(self, plan: Sequence[tuple[str, int, Sequence[Any], Mapping[str, Any]]]) -> list[str]:
        """Enqueue a plan; the ids in its order."""
        lines = [[task, count, list(args), dict(options)] for task, count, args, options in plan]
        return self.ask("enqueue", lines)

    def ask(self, operation: str, *args: Any) -> Any:
        """Let the client do something, outside of any span."""
        reply = self.client.call(operation, *args, request=None, timeout=60)
        assert reply.error is None, reply.error
        return reply.result

    @property
    def series(self) -> Series:
        """The workers' metrics as they are now."""
        return Series(self.receiver.metrics(), self.worker_service)

    @property
    def client_series(self) -> Series:
        """The client's metrics as they are now."""
        return Series(self.receiver.metrics(), self.client_service)

    def wait_for_runs(self, count: int, timeout: float = 60.0, **attributes: Any) -> Series:
        """Wait until so many attempts are counted."""
        wait_for(
            lambda: self._counted(attributes) >= count,
            timeout,
            f"{count} runs {attributes}",
            lambda: (
                f"{self.series.by(RUNS, 'taskqueue.task.name', 'taskqueue.task.outcome')}\n{self.explain()}"
            ),
        )
        return self.series

    def _counted(self, attributes: Mapping[str, Any]) -> float:
        """The sum of the runs, from what is new: a thousand jobs leave a hundred thousand points."""
        points = self.receiver.metrics()
        for point in points[self._read :]:
            if point.name == RUNS and point.resource.service == self.worker_service:
                instance = point.resource.attributes.get(INSTANCE)
                self._runs[(instance, *sorted(point.attributes.items()))] = point
        self._read = len(points)
        return Series(self._runs.values(), self.worker_service).value(RUNS, **attributes) or 0
