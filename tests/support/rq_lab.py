"""RQ workers for what the conformance scenarios do not ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest

from support.env import script
from support.harness import Broker, Job, Options
from support.otlp import Receiver, Span
from support.otlp.tree import draw
from support.rq_harness import RQHarness

CLASSES = {
    "calling": "support.apps.rq_lab.Calling",
    "replacing": "support.apps.rq_lab.Replacing",
    "round robin": "rq.worker.RoundRobinWorker",
}


def since(*needed: int) -> pytest.MarkDecorator:
    """Skip a test of what the installed RQ does not have yet."""
    found = tuple(int(number) for number in re.findall(r"\d+", version("rq"))[: len(needed)])
    words = f"RQ has it since {'.'.join(map(str, needed))}"
    return pytest.mark.skipif(found < needed, reason=words)


class RQLab(RQHarness):
    """A worker of the laboratory: ``pool`` may name one of its classes, or `rq worker-pool`."""

    client_module: ClassVar[str] = "support.apps.rq_lab_client"

    def worker_command(self) -> Sequence[str]:
        """The command line of the laboratory's kinds of worker."""
        where = ["--url", self.broker.url]
        if self.pool == "worker-pool":
            return [script("rq"), "worker-pool", *where, "-n", "2", self.queue]
        if self.pool in CLASSES:
            kind = ["--name", self.worker_name, "--worker-class", CLASSES[self.pool]]
            return [script("rq"), "worker", *where, *kind, *self.options.arguments, self.queue]
        return super().worker_command()

    def env(self, service: str) -> dict[str, str]:
        """The client has the worker's settings."""
        return {**super().env(service), **self.options.env}

    def enqueue(self, case: str, *args: Any, **options: Any) -> Job:
        """Enqueue one job of the laboratory."""
        reply = self.client.call("enqueue", case, list(args), **options)
        return Job(reply.job_id, reply)

    def exactly(self, job_id: str, count: int) -> list[Span]:
        """Exactly ``count`` attempts of a job, also after another job has passed."""
        self.wait_for_attempts(job_id, count)
        self.fence()
        found = self.process_spans(job_id)
        assert len(found) == count, self.explain(job_id)
        return found

    def whole_trace(self, trace_id: str) -> str:
        """A trace as a drawing, for failure messages."""
        return "\n" + draw(self.receiver.trace(trace_id))


@contextmanager
def running_lab(broker: Broker, directory: Path, pool: str = "fork", **options: Any) -> Iterator[RQLab]:
    """A worker with its own receiver; gone at the end whatever happens."""
    with (
        Receiver() as receiver,
        RQLab(broker, receiver, directory, pool=pool, options=Options(**options)) as lab,
    ):
        assert isinstance(lab, RQLab)
        yield lab
