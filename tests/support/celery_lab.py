"""Celery workers for what the conformance scenarios do not ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from support.celery_harness import CeleryHarness
from support.harness import Broker, Job, Options
from support.otlp import Receiver, Span
from support.otlp.tree import dangling, draw
from support.wait import wait_for

APP = "support.apps.celery_lab"
OURS = "otel_taskqueue"


class CeleryLab(CeleryHarness):
    """A worker of `support.apps.celery_lab`, unless its options name another application."""

    client_module: ClassVar[str] = "support.apps.celery_lab_client"

    def __init__(self, *args: Any, options: Options | None = None, **kwargs: Any) -> None:
        options = options or Options()
        super().__init__(*args, options=replace(options, app=options.app or APP), **kwargs)

    def env(self, service: str) -> dict[str, str]:
        """The client has the worker's settings."""
        return {**super().env(service), **self.options.env}

    def enqueue(self, case: str, *args: Any, request: str | None = "request", **options: Any) -> Job:
        """Enqueue one job of the laboratory."""
        reply = self.client.call("enqueue", case, list(args), request=request, **options)
        return Job(reply.job_id, reply)

    def process_span(self, job_id: str) -> Span:
        """The one attempt of a job, once it has arrived."""
        return self.process_spans_of(job_id, 1)[0]

    def process_spans_of(self, job_id: str, count: int) -> list[Span]:
        """Exactly ``count`` attempts of a job."""
        self.receiver.wait_for_spans(
            lambda span: span.kind == "CONSUMER" and span.attributes.get("messaging.message.id") == job_id,
            count,
            what=f"attempts of {job_id}",
        )
        found = self.process_spans(job_id)
        assert len(found) == count, self.explain(job_id)
        return found

    def send_span(self, job_id: str) -> Span:
        """The one publish of a job, once it has arrived."""
        self.receiver.wait_for_spans(
            lambda span: span.kind == "PRODUCER" and span.attributes.get("messaging.message.id") == job_id,
            what=f"send span of {job_id}",
        )
        found = self.send_spans(job_id)
        assert len(found) == 1, self.explain(job_id)
        return found[0]

    def wait_for_every_parent(self) -> None:
        """Nothing that arrived names a parent that does not."""
        spans = self.receiver.spans
        wait_for(
            lambda: not dangling(spans()), 15, "every parent has arrived", lambda: draw(dangling(spans()))
        )

    def whole_trace(self, trace_id: str) -> str:
        """A trace as a drawing, for failure messages."""
        return "\n" + draw(self.receiver.trace(trace_id))


@contextmanager
def running_lab(
    broker: Broker, directory: Path, pool: str = "prefork", **options: Any
) -> Iterator[CeleryLab]:
    """A worker with its own receiver; gone at the end whatever happens."""
    with (
        Receiver() as receiver,
        CeleryLab(broker, receiver, directory, pool=pool, options=Options(**options)) as lab,
    ):
        assert isinstance(lab, CeleryLab)
        yield lab
