"""The Celery room: `celery worker` on a pool and a broker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from support.env import script
from support.harness import Harness, Job

APP = "support.apps.celery_app"


class CeleryHarness(Harness):
    """A Celery worker; ``pool`` is a value of ``-P``, or ``spawn`` for prefork by spawning."""

    room: ClassVar[str] = "celery"
    client_module: ClassVar[str] = "support.apps.celery_client"

    @property
    def worker_name(self) -> str:
        """Celery calls it the node name."""
        return f"{self.queue}@localhost"

    def worker_command(self) -> Sequence[str]:
        """`celery worker` without the conversation among workers, which costs seconds."""
        pool = "prefork" if self.pool == "spawn" else self.pool
        concurrency = [] if pool == "solo" else ["-c", str(self.options.concurrency)]
        return [
            *[script("celery"), "-A", self.options.app or APP, "worker", "-P", pool],
            *[*concurrency, "-n", self.worker_name, "-Q", self.queue, "-l", "INFO"],
            *["--without-gossip", "--without-mingle"],
            *self.options.arguments,
        ]

    def ready_line(self) -> str:
        """Printed by the consumer when it takes messages."""
        return rf"{self.worker_name} ready\."

    def app_env(self) -> Mapping[str, str]:
        """Broker and backend."""
        conf = dict(self.options.conf)
        if self.pool == "spawn":
            conf["worker_pool_start_method"] = "spawn"
        return {
            "TASKQUEUE_TEST_BROKER": self.broker.url,
            "TASKQUEUE_TEST_BACKEND": self.broker.redis.url(),
            "TASKQUEUE_TEST_CONF": json.dumps(conf),
        }

    def publish(self, case: str, *args: Any, **how: Any) -> Job:
        """Enqueue by ``apply_async`` unless ``how`` says otherwise."""
        reply = self.client.call("publish", case, list(args), **how)
        return Job(reply.job_id, reply)

    def task_name(self, case: str) -> str:
        """Tasks are named after their module."""
        return case if "." in case else f"{APP}.{case}"

    def cancel(self, job_id: str) -> None:
        """Revoke."""
        self.client.call("revoke", job_id, request=None)

    def interrupt(self, job_id: str) -> None:
        """Revoke and terminate."""
        self.client.call("revoke", job_id, terminate=True, request=None)
