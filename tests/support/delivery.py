"""A Celery worker whose delivery is put to the test, and what the tests ask of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from support import procfs
from support.apps.delivery_sdk import FILE, SDK, SECOND
from support.celery_harness import CeleryHarness
from support.client import Client
from support.harness import Job
from support.otlp import Receiver, Span
from support.wait import wait_for

APP = "support.apps.delivery_app"


def by_hand(setup: str, **extra: str) -> dict[str, str]:
    """The environment of a worker whose application sets the SDK up by itself."""
    return {SDK: setup, **extra}


class DeliveryHarness(CeleryHarness):
    """A worker of ``delivery_app``; it may use the client of another one, since starts are dear."""

    client_module: ClassVar[str] = "support.apps.delivery_client"
    lender: DeliveryHarness | None = None

    @property
    def client(self) -> Client:
        """The client that enqueues for this worker."""
        return self.lender.client if self.lender is not None else super().client

    def worker_command(self) -> Sequence[str]:
        """As every worker of Celery, with another application."""
        return [APP if part == "support.apps.celery_app" else part for part in super().worker_command()]

    def env(self, service: str) -> dict[str, str]:
        """Spans of the client's own Redis calls would only be in the way."""
        quiet = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis"} if service == self.client_service else {}
        return {**super().env(service), FILE: str(self.spans_file), **quiet}

    @property
    def spans_file(self) -> Any:
        """Where a file exporter writes."""
        return self.directory / "spans.jsonl"

    # --- publishing -----------------------------------------------------------------------------
    def task_name(self, case: str) -> str:
        """Tasks of the new module by their short name."""
        return f"{APP}.{case}" if case in OWN_TASKS else super().task_name(case)

    def publish(self, case: str, *args: Any, **how: Any) -> Job:
        """Enqueue by name: the client does not know the tasks."""
        where = {"how": "send_task", "queue": self.queue}
        reply = self.client.call("publish", self.task_name(case), list(args), **where, **how)
        return Job(reply.job_id, reply)

    def publish_many(self, case: str, count: int, *args: Any, every: float = 0.0) -> list[str]:
        """Enqueue many; one every ``every`` seconds."""
        name = self.task_name(case)
        timeout = 30 + count * every
        reply = self.client.call("publish_many", name, count, list(args), every, self.queue, timeout=timeout)
        assert reply.error is None, reply.error
        return reply.result

    # --- asking -----------------------------------------------------------------------------------
    def wait_until_done(self, ids: Sequence[str], timeout: float = 60.0) -> None:
        """Wait until Celery itself has the results of all ``ids``."""
        last = self.client.call("wait_for_states", list(ids), timeout, request=None, timeout=timeout + 5)
        assert not last.result, f"{len(last.result)} jobs without a result\n{self.explain()}"

    def arrived(self, ids: Sequence[str]) -> dict[str, int]:
        """How many process spans of each job have arrived."""
        counts = dict.fromkeys(ids, 0)
        for span in self.receiver.spans():
            job_id = span.attributes.get("messaging.message.id")
            if span.kind == "CONSUMER" and job_id in counts:
                counts[job_id] += 1
        return counts

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Jobs without a process span."""
        return [job_id for job_id, count in self.arrived(ids).items() if count == 0]

    def wait_for_all(self, ids: Sequence[str], timeout: float = 20.0) -> None:
        """Wait until each job has its process span, and see that none has two."""
        wait_for(
            lambda: not self.missing(ids),
            timeout,
            f"{len(ids)} process spans",
            lambda: f"{len(self.missing(ids))} missing\n{self.explain()}",
        )
        assert set(self.arrived(ids).values()) == {1}, self.explain()

    def inner(self, span: Span) -> list[Span]:
        """Spans below one that have arrived."""
        return [other for other in self.receiver.spans() if other.parent_id == span.span_id]

    def stop_and_read(self, timeout: float = 30.0) -> str:
        """Stop the worker warmly and return its output."""
        stopped = self.stop_worker(timeout)
        assert self.worker is not None
        assert not stopped.killed, self.worker.tail()
        self.check_quiet()
        return self.worker.output()

    def check_quiet(self) -> None:
        """Nothing of ours, and nothing of the SDK's, has failed in the worker's log."""
        assert self.worker is not None
        complaints = re.findall(r".*(?:telemetry of|otel_taskqueue/|opentelemetry/).*", self.worker.output())
        assert not complaints, "\n".join(complaints)

    def dropped(self, output: str) -> Mapping[str, int]:
        """What the relay said that it had to drop."""
        found = re.search(r"relay dropped \{(.*)\}", output)
        assert found, output[-3000:]
        return {key: int(value) for key, value in re.findall(r"'(\w+)': (\d+)", found[1])}

    def pool_pids(self) -> list[int]:
        """Pids of the children."""
        assert self.worker is not None
        return procfs.children(self.worker.pid)


OWN_TASKS = frozenset(
    {
        *("steps", "too_large", "secret", "leave_a_grandchild", "sleep_then_kill"),
        *("swallow_hard_limit", "spans_until_soft_limit", "quiet_publish"),
    }
)

StartDelivery = Callable[..., DeliveryHarness]


def second(receiver: Receiver) -> dict[str, str]:
    """Where a second exporter sends to."""
    return {SECOND: receiver.endpoint}
