"""A worker whose jobs measure, and its metrics as a backend shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.delivery import DeliveryHarness
from support.env import script
from support.harness import Harness, Options, redis_broker
from support.otlp import Receiver
from support.otlp.series import Series
from support.rq_harness import RQHarness
from support.servers import RedisServer
from support.wait import wait_for

CELERY, RQ = "support.apps.measures_app", "support.apps.measures_rq"
#: The same with an SDK that has no traces and no logs.
ALONE = {"celery": "support.apps.measures_alone_app", "rq": "support.apps.measures_alone_rq"}
#: Nothing is exported by the clock within a test, or all the time.
NEVER, OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "60000"}, {"OTEL_METRIC_EXPORT_INTERVAL": "200"}
FINAL = {"success": "finished", "failure": "failed"}


class MeasuringRQ(RQHarness):
    """`rq worker`, or with the pool ``worker-pool`` that."""

    def worker_command(self) -> Sequence[str]:
        """Its class is imported by the parent, and measures there."""
        kind = ["--url", self.broker.url, "--worker-class", f"{self.options.app or RQ}.MeasuringWorker"]
        if self.pool == "worker-pool":
            return [script("rq"), "worker-pool", *kind, "-n", "2", self.queue]
        return [script("rq"), "worker", *kind, "--name", self.worker_name, "--with-scheduler", self.queue]


class Measuring:
    """A worker of either library."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness

    def run(self, case: str, *args: Any, count: int = 1, end: str = "success") -> list[str]:
        """Run this many jobs of a case to their end; their ids."""
        if isinstance(self.harness, DeliveryHarness):
            ids = self.harness.publish_many(f"measures.{case}", count, *args)
            self.harness.wait_until_done(ids)
            return ids
        ids = [self.harness.publish(f"{RQ}.{case}", *args, how="by_name").id for _ in range(count)]
        for job_id in ids:
            reply = self.harness.client.call(
                "wait_for_state", job_id, [FINAL[end]], 60, request=None, timeout=65
            )
            assert reply.result == FINAL[end], self.harness.explain(job_id)
        return ids

    def series(self) -> Series:
        """Its metrics so far."""
        return Series(self.harness.receiver.metrics(), self.harness.worker_service)

    def stopped(self) -> Series:
        """Stop it warmly; its metrics as they are then, after a life without complaints."""
        stopped = self.harness.stop_worker()
        assert self.harness.worker is not None
        output = self.harness.worker.output()
        assert not stopped.killed, output
        for complaint in ("telemetry of", "different advisory", "already registered"):
            assert complaint not in output, output
        return self.series()

    def wait_for(self, what: str, found: Callable[[Series], Any]) -> Any:
        """Wait until the metrics show something."""
        return wait_for(
            lambda: found(self.series()), 15, what, lambda: (self.series().names, self.harness.explain())
        )


def celery(server: RedisServer, receiver: Receiver, directory: Path, **options: Any) -> Measuring:
    """A prefork worker, not started."""
    broker, of = redis_broker(server), Options(**{"app": CELERY, "env": NEVER, **options})
    return Measuring(DeliveryHarness(broker, receiver, directory, pool="prefork", options=of))


def rq(
    server: RedisServer, receiver: Receiver, directory: Path, pool: str = "fork", **options: Any
) -> Measuring:
    """A worker with work-horses, or a pool of two, not started."""
    broker, of = redis_broker(server), Options(**{"env": NEVER, **options})
    return Measuring(MeasuringRQ(broker, receiver, directory, pool=pool, options=of))


ROOMS = {"celery": celery, "rq": rq}
