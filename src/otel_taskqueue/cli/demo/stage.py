"""Where the story of the demo plays: a Redis, names of its own, and an address for telemetry."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError
from rq import Queue

from otel_taskqueue.cli.demo.redis import connect

if TYPE_CHECKING:
    from pathlib import Path

    from otel_taskqueue.cli.demo.redis import Server


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the story plays: a Redis, names that are ours alone, and where telemetry goes."""

    server: Server
    otlp_url: str
    mark: str
    folder: Path

    @classmethod
    def on(cls, server: Server, otlp_url: str, folder: Path) -> Stage:
        """Names: short ones on a private Redis, unmistakable ones on a shared one."""
        mark = "" if server.is_private else f"otel-taskqueue-demo-{secrets.token_hex(4)}"
        return cls(server, otlp_url, mark, folder)

    @property
    def rq_queue(self) -> str:
        """The queue of the RQ worker."""
        return f"{self.mark}-imports" if self.mark else "imports"

    @property
    def rq_worker(self) -> str:
        """The name of the RQ worker."""
        return f"{self.mark or 'shop'}-importer"

    def environment(self, service: str) -> dict[str, str]:
        """The environment of a process of the shop: ours, without our own telemetry settings."""
        ours = os.environ.items()
        return {name: value for name, value in ours if not name.startswith("OTEL_")} | {
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "DEMO_REDIS_URL": self.server.url,
            "DEMO_PREFIX": f"{self.mark}:" if self.mark else "",
            "DEMO_RQ_QUEUE": self.rq_queue,
            "RQ_REDIS_URL": self.server.url,  # not on the command line, where everybody can read it
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.folder),  # a killed process leaves files
        }

    def sweep(self) -> None:
        """Remove from a shared Redis what the story left there; a Redis that has gone is no news."""
        if not self.server.is_private:
            with contextlib.suppress(RedisError):
                self._sweep(connect(self.server.url))

    def _sweep(self, client: Any) -> None:
        queue = Queue(self.rq_queue, connection=client)
        for job_id in _jobs_of(queue):
            client.delete(f"rq:job:{job_id}", f"rq:results:{job_id}", f"rq:executions:{job_id}")
        queue.delete(delete_jobs=False)
        client.srem("rq:workers", f"rq:worker:{self.rq_worker}")
        for key in client.scan_iter(f"*{self.mark}*"):
            client.delete(key)


def _jobs_of(queue: Queue) -> set[str]:
    registries = (queue.failed_job_registry, queue.finished_job_registry, queue.started_job_registry)
    in_registries = (job_id for registry in registries for job_id in registry.get_job_ids())
    return {*queue.get_job_ids(), *in_registries}
