"""The example with FastAPI, Celery and RQ, run once as its README tells, and who got its trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from support.backends.jaeger import Jaeger, oldest_first, running_jaeger
from support.backends.otelcol import running_collector
from support.env import base_env
from support.examples import EXAMPLES, commands, drawn, promised
from support.otlp import Span
from support.otlp.tee import Tee
from support.otlp.tree import draw
from support.process import RealProcess
from support.servers import free_port
from support.wait import wait_for

FOLDER = EXAMPLES / "fastapi-celery-rq"
README = FOLDER / "README.md"
CONFIG = "collector-config/local.yaml"
#: The line which each of the README's processes prints when it can be used.
READY = {"celery": "ready", "rq": "Listening on", "uvicorn": "Uvicorn running on"}
START_SECONDS = 120.0  # all at once, on a machine with other work
#: Installed for other tests, and not in the example's requirements.
NOT_INSTALLED = "celery,logging,pika,redis"


class Shop(NamedTuple):
    """One order: all exports, byte for byte; its trace as it was sent, oldest first; who has it now."""

    bodies: Sequence[tuple[str, bytes]]
    sent: Sequence[Span]
    jaeger: Jaeger
    files: Path

    @property
    def trace_id(self) -> str:
        """The order's trace."""
        return self.sent[0].trace_id


@contextmanager
def open_shop(redis_url: str, folder: Path) -> Iterator[Shop]:
    """Run the README: Jaeger, the collector, two workers, the web application, one order."""
    with ExitStack() as stack:
        jaeger = stack.enter_context(running_jaeger(folder))
        to_jaeger = {"TRACES_ENDPOINT": jaeger.otlp}
        collector = stack.enter_context(running_collector([CONFIG], folder / "collector", env=to_jaeger))
        tee = stack.enter_context(Tee(collector.http))
        env = base_env(
            **tee.env(),
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=NOT_INSTALLED,
            REDIS_URL=redis_url,
            PORT=str(free_port()),
        )
        with one_order(env, folder) as processes:
            sent = sent_by(processes, tee)
            wait_until_there(jaeger, sent, collector.log)
        yield Shop(tee.bodies, sent, jaeger, folder / "collector" / "files")


@contextmanager
def one_order(env: Mapping[str, str], folder: Path) -> Iterator[Sequence[RealProcess]]:
    """The README's processes, and its last command run to the end."""
    *servers, client = commands(README)[-4:]
    with ExitStack() as stack:
        started = [stack.enter_context(process(line, env, folder)) for line in servers]
        for running in started:
            running.wait_for_line(READY[running.name], START_SECONDS)
        with process(client, env, folder) as asked:
            assert asked.wait(START_SECONDS) == 0, asked.tail()
        yield started


def process(line: str, env: Mapping[str, str], folder: Path) -> RealProcess:
    """A line of the README, in the example's folder; the shell becomes the command."""
    words = line.split()
    name = words[2] if len(words) > 2 else words[0]
    return RealProcess(name, ["bash", "-c", line], env=env, log=folder / f"{name}.log", cwd=FOLDER)


def sent_by(processes: Sequence[RealProcess], tee: Tee) -> Sequence[Span]:
    """The spans of the order's trace, once they are what the README tells."""
    wait_for(
        lambda: drawn(of_the_order(tee.spans())) == promised(README),
        START_SECONDS,
        "\n".join(promised(README)),
        lambda: draw(tee.spans()) + "\n" + "\n".join(running.tail() for running in processes),
    )
    return of_the_order(tee.spans())


def of_the_order(spans: Sequence[Span]) -> list[Span]:
    """The trace of the request, oldest start first."""
    traces = {span.trace_id for span in spans if span.kind == "SERVER"}
    return oldest_first(span for span in spans if span.trace_id in traces)


def wait_until_there(jaeger: Jaeger, sent: Sequence[Span], explain: Callable[[], str]) -> None:
    """Wait until Jaeger has as many spans of the trace as were sent."""
    trace_id = sent[0].trace_id
    wait_for(
        lambda: len(jaeger.trace(trace_id)) >= len(sent),
        30,
        f"{len(sent)} spans in Jaeger",
        lambda: f"{draw(jaeger.trace(trace_id))}\n{explain()[-3000:]}",
    )
