"""A Celery worker that sends to a collector, and what its tasks told beside telemetry."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

from support.celery_harness import CeleryHarness
from support.harness import Options

APP = "support.apps.collected"


class Told(NamedTuple):
    """One job that ran: its id, the span of its attempt, and that of the call which enqueued it."""

    job_id: str
    span_id: str
    parent_id: str


class CollectedHarness(CeleryHarness):
    """A worker of ``support.apps.collected``."""

    client_module: ClassVar[str] = "support.apps.delivery_client"

    @property
    def worker_name(self) -> str:
        """As on a host with a domain: it looks like an e-mail address."""
        return f"{self.queue}@worker-1.shop.example"

    def told(self) -> list[Told]:
        """What the tasks have told so far."""
        files = self.notes_directory.glob("told-*.txt")
        return [Told(*line.split()) for file in files for line in file.read_text().splitlines(keepends=False)]

    def told_count(self) -> int:
        """How many jobs have run; cheap enough to be asked often."""
        files = self.notes_directory.glob("told-*.txt")
        return sum(file.stat().st_size for file in files) // TOLD_BYTES

    @contextmanager
    def publishing(self, count: int, every: float = 0.0) -> Iterator[Future[list[str]]]:
        """Enqueue many jobs from the client's process, beside whatever is done meanwhile."""
        where = ("shop.step", count, [], every, self.queue)
        with ThreadPoolExecutor(1) as background:
            yield background.submit(
                lambda: self.client.call("publish_many", *where, request=None, timeout=600).result
            )


#: Job id, two span ids, two spaces and the end of the line.
TOLD_BYTES = 36 + 16 + 16 + 3


def options(**settings: object) -> Options:
    """How such a worker is started."""
    return Options(app=APP, **settings)  # type: ignore[arg-type]
