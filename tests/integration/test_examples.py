"""The examples, run with the commands which their README tells, draw the trace that it shows."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.env import base_env, script
from support.examples import EXAMPLES, drawn, promised
from support.otlp.tree import draw
from support.process import RealProcess
from support.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.otlp import Receiver
    from support.servers import RedisServer


class Example(NamedTuple):
    """A folder, its two commands after `opentelemetry-instrument`, the line of a worker which is ready."""

    folder: str
    worker: tuple[str, ...]
    client: tuple[str, ...]
    ready: str

    def __str__(self) -> str:
        return self.folder


CELERY = Example(
    "celery-quickstart", ("celery", "-A", "tasks", "worker", "--loglevel", "INFO"), ("order.py",), "ready"
)
RQ = Example("rq-quickstart", ("rq", "worker", "--url", "$REDIS_URL"), ("feed.py",), "Listening on")


def process(example: Example, argv: Sequence[str], env: dict[str, str], log: Path) -> RealProcess:
    """One of the commands, started in the example's folder under `opentelemetry-instrument`."""
    command = [script("opentelemetry-instrument"), *(env.get(word.removeprefix("$"), word) for word in argv)]
    return RealProcess(argv[0], command, env=env, log=log, cwd=EXAMPLES / example.folder)


@pytest.mark.parametrize("example", [CELERY, RQ], ids=str)
def test_the_quickstart_draws_the_trace_of_its_readme(
    example: Example, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """One trace: the request, its job's two attempts, and the job that the second one enqueued."""
    url = redis_server.url(7 if example is CELERY else 8)
    readme = EXAMPLES / example.folder / "README.md"
    names = re.findall(r"OTEL_SERVICE_NAME=(\S+)", readme.read_text())
    env = base_env(**receiver.env(), OTEL_BSP_SCHEDULE_DELAY="100", BROKER_URL=url, REDIS_URL=url)
    worker_env, client_env = ({**env, "OTEL_SERVICE_NAME": name} for name in names)
    with process(example, example.worker, worker_env, tmp_path / "worker.log") as worker:
        worker.wait_for_line(example.ready, 60)
        client = [sys.executable, *example.client]
        with process(example, client, client_env, tmp_path / "client.log") as enqueue:
            assert enqueue.wait(60) == 0, enqueue.tail()
        wait_for(
            lambda: drawn(receiver.spans()) == promised(readme),
            30,
            "\n".join(promised(readme)),
            lambda: "\n" + draw(receiver.spans()) + "\n" + worker.tail(),
        )
