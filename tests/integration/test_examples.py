"""The examples, run with the commands which their README tells, draw the trace that it shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.env import base_env, script
from support.otlp.tree import draw
from support.process import RealProcess
from support.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.otlp import Receiver, Span
    from support.servers import RedisServer

EXAMPLES = Path(__file__).parents[2] / "examples"


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


def drawn(spans: Sequence[Span], parent: str = "", depth: int = 0) -> list[str]:
    """The spans as indented lines: name, service, attempt, outcome."""
    lines: list[str] = []
    for span in sorted(spans, key=lambda span: span.start):
        if span.parent_id != parent:
            continue
        attributes = span.attributes
        attempt = f"attempt {attributes.get('taskqueue.task.attempt')}" if span.kind == "CONSUMER" else ""
        words = (span.name, span.service, attempt, attributes.get("taskqueue.task.outcome", ""))
        lines.append("   " * depth + " ".join(str(word) for word in words if word))
        lines += drawn(spans, span.span_id, depth + 1)
    return lines


def promised(example: Example) -> list[str]:
    """The tree in the example's README, without its branches."""
    text = (EXAMPLES / example.folder / "README.md").read_text()
    tree = text.partition("one trace:\n\n```\n")[2].partition("```")[0].splitlines()
    plain = [re.sub(r"[│├└─]", " ", line).rstrip() for line in tree]
    return [line[: len(line) - len(line.lstrip())] + " ".join(line.split()) for line in plain]


@pytest.mark.parametrize("example", [CELERY, RQ], ids=str)
def test_the_quickstart_draws_the_trace_of_its_readme(
    example: Example, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """One trace: the request, its job's two attempts, and the job that the second one enqueued."""
    url = redis_server.url(7 if example is CELERY else 8)
    names = re.findall(r"OTEL_SERVICE_NAME=(\S+)", (EXAMPLES / example.folder / "README.md").read_text())
    env = base_env(**receiver.env(), OTEL_BSP_SCHEDULE_DELAY="100", BROKER_URL=url, REDIS_URL=url)
    worker_env, client_env = ({**env, "OTEL_SERVICE_NAME": name} for name in names)
    with process(example, example.worker, worker_env, tmp_path / "worker.log") as worker:
        worker.wait_for_line(example.ready, 60)
        client = [sys.executable, *example.client]
        with process(example, client, client_env, tmp_path / "client.log") as enqueue:
            assert enqueue.wait(60) == 0, enqueue.tail()
        wait_for(
            lambda: drawn(receiver.spans()) == promised(example),
            30,
            "\n".join(promised(example)),
            lambda: "\n" + draw(receiver.spans()) + "\n" + worker.tail(),
        )
