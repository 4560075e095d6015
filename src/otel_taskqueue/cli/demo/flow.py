"""The story of the demo: a shop whose two web requests enqueue jobs for Celery and for RQ."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from otel_taskqueue.cli.demo.redis import connect
from otel_taskqueue.cli.demo.tree import problems, traces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otel_taskqueue.cli.demo.children import Child, Children
    from otel_taskqueue.cli.demo.harvest import Harvest
    from otel_taskqueue.cli.demo.progress import Step
    from otel_taskqueue.cli.demo.stage import Stage
    from otel_taskqueue.cli.demo.tree import Trace

SHOP = Path(__file__).with_name("shop")
START_SECONDS = 30.0  # a machine may be busy with something else
ARRIVE_SECONDS = 20.0
STOP_SECONDS = 5.0
_SETTLE_SECONDS = 0.4
_POLL_SECONDS = 0.05

#: What each job's attempts must say of themselves, in the order of time.
EXPECTED: Mapping[str, Sequence[str]] = {
    "orders.reserve_stock": ("success",),
    "orders.charge_card": ("retry", "success"),
    "orders.send_receipt": ("success",),
    "orders.book_courier": ("failure",),
    "orders.render_invoice": ("lost",),
    "catalogue.resize_photos": ("success",),
    "catalogue.fetch_feed": ("retry", "success"),
    "catalogue.update_search": ("success",),
    "catalogue.check_prices": ("failure",),
    "catalogue.convert_video": ("lost",),
}
REQUESTS = 2
WEB = "shop-web"

_INSTRUMENT = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"


@dataclass(frozen=True, slots=True)
class Shop:
    """The three processes of the shop."""

    web: Child
    celery: Child
    rq: Child

    @classmethod
    def open(cls, children: Children, stage: Stage) -> Shop:
        """Start web, Celery worker and RQ worker, and wait until they are ready."""
        shop = cls(
            celery=_instrumented(children, stage, "celery worker", "orders-worker", *_CELERY, *_LONELY),
            rq=_instrumented(
                children,
                stage,
                "rq worker",
                "imports-worker",
                *_RQ,
                "--name",
                stage.rq_worker,
                stage.rq_queue,
            ),
            web=_instrumented(children, stage, "web", WEB, "web.py"),
        )
        shop.wait_until_ready(stage)
        return shop

    def wait_until_ready(self, stage: Stage) -> None:
        """Raises ChildDiedError when one of them ends, TimeoutError when they are too slow."""
        client = connect(stage.server.url)
        _wait_for(lambda: self.web.has_said("ready"), "the web process")
        _wait_for(lambda: self.celery.has_said(" ready."), "the Celery worker")
        # RQ may be silent on its console; in Redis it is there or not.
        registered = f"rq:worker:{stage.rq_worker}"
        _wait_for(lambda: not self.rq.has_said("\0") and bool(client.exists(registered)), "the RQ worker")

    def handle_requests(self) -> None:
        """Let the web process handle its requests; it ends after them."""
        pipe = self.web.process.stdin
        if pipe is not None:
            with pipe:
                pipe.write(b"go\n")

    def close(self, children: Children) -> None:
        """Stop the workers as a deployment does."""
        children.stop(self.celery, self.rq, timeout=STOP_SECONDS)


_CELERY = ("-m", "celery", "-A", "orders", "worker", "-c", "2", "-l", "INFO", "-n", "shop@%h")
_LONELY = ("--without-mingle", "--without-gossip")  # else it waits a second for other workers
_RQ = ("-m", "rq.cli", "worker")


def _instrumented(children: Children, stage: Stage, name: str, service: str, *arguments: str) -> Child:
    """What ``opentelemetry-instrument python ARGUMENTS`` does, wherever its script may be."""
    command = [sys.executable, "-c", _INSTRUMENT, sys.executable, *arguments]
    env = stage.environment(service)
    if name != "celery worker":
        env |= _log_handler()
    stdin = subprocess.PIPE if name == "web" else subprocess.DEVNULL
    return children.start(name, command, env=env, cwd=SHOP, stdin=stdin)


def _log_handler() -> dict[str, str]:
    """Celery's worker ships its log records by our doing; elsewhere it takes the SDK's or contrib's."""
    if importlib.util.find_spec("opentelemetry.instrumentation.logging") is not None:
        return {}
    return {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not ready within {START_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)


def wait_until_told(harvest: Harvest, step: Step) -> None:
    """Wait until the whole story has arrived, or for as long as one waits."""
    wanted = sum(len(outcomes) for outcomes in EXPECTED.values())

    def is_complete() -> bool:
        found = stories(harvest)
        count = sum(len(trace.attempts) for trace in found)
        step.says(f"two web requests: {count} of {wanted} attempts have arrived")
        return len(found) >= REQUESTS and not problems(found, EXPECTED)

    harvest.wait_for(is_complete, ARRIVE_SECONDS)
    harvest.wait_for(lambda: False, _SETTLE_SECONDS)  # what came too much, and the last log lines


def stories(harvest: Harvest) -> list[Trace]:
    """The traces of the web requests, and whatever has an attempt in it."""
    found = traces(harvest.spans, harvest.logs)
    return [
        trace for trace in found if trace.attempts or any(root.span.service == WEB for root in trace.roots)
    ]
