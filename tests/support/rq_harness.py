"""The RQ room: `rq worker` with one of its worker classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from support.env import script
from support.harness import Harness, Job

WORKER_CLASSES: Mapping[str, str] = {
    "fork": "rq.worker.Worker",
    "simple": "rq.worker.SimpleWorker",
    "spawn": "rq.worker.SpawnWorker",
    "heroku": "rq.worker.HerokuWorker",
}


class RQHarness(Harness):
    """An RQ worker; ``pool`` names its class."""

    room: ClassVar[str] = "rq"
    client_module: ClassVar[str] = "support.apps.rq_client"

    @property
    def worker_name(self) -> str:
        """Given by ``--name``."""
        return f"w-{self.queue}"

    def worker_command(self) -> Sequence[str]:
        """`rq worker` with its scheduler, so that delayed jobs come."""
        return [
            *[script("rq"), "worker", "--url", self.broker.url, "--name", self.worker_name],
            *["--worker-class", WORKER_CLASSES[self.pool], "--with-scheduler"],
            *self.options.arguments,
            self.queue,
        ]

    def ready_line(self) -> str:
        """Printed before the worker takes the first job."""
        return rf"Listening on {self.queue}"

    def app_env(self) -> Mapping[str, str]:
        """The broker, for the client."""
        return {"TASKQUEUE_TEST_BROKER": self.broker.url}

    def publish(self, case: str, *args: Any, **how: Any) -> Job:
        """Enqueue by ``Queue.enqueue`` unless ``how`` says otherwise."""
        reply = self.client.call("publish", case, list(args), **how)
        return Job(reply.job_id, reply)

    def task_name(self, case: str) -> str:
        """Jobs are named after their function."""
        return case if "." in case else f"support.apps.rq_jobs.{case}"

    def cancel(self, job_id: str) -> None:
        """No worker hears of a cancelled job."""
        raise NotImplementedError

    def interrupt(self, job_id: str) -> None:
        """The stop command."""
        self.client.call("stop_job", job_id, request=None)
