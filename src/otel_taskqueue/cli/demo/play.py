"""The demo from curtain to curtain: start, let it happen, show it, leave nothing behind."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from otel_taskqueue.cli.demo import flow, poster, redis
from otel_taskqueue.cli.demo.children import ChildDiedError, Children
from otel_taskqueue.cli.demo.progress import Progress
from otel_taskqueue.cli.demo.receiver import Receiver
from otel_taskqueue.cli.demo.stage import Stage
from otel_taskqueue.cli.demo.tree import problems

if TYPE_CHECKING:
    from collections.abc import Generator

    from otel_taskqueue.cli.demo.harvest import Harvest

_WIDTH = 120
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def play(save: str | None) -> int:
    """Run the demo and return its exit status.

    Args:
        save: Where to write what was shown (.svg, .html, else plain text), or None.
    """
    console = Console(record=save is not None, highlight=False)
    if not console.is_terminal or console.width > _WIDTH:
        console.width = _WIDTH
    try:
        with _signals_as_interrupt():
            status = _play(console)
    except KeyboardInterrupt as interrupt:
        console.print("Interrupted; every process of the demo has been stopped.")
        return 128 + int(interrupt.args[0])
    except (ChildDiedError, TimeoutError, redis.NoRedisError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    if save is not None:
        _save(console, Path(save))
    return status


def _play(console: Console) -> int:
    progress = Progress(console)
    poster.print_opening(console)
    with (
        tempfile.TemporaryDirectory(prefix="otel-taskqueue-demo-") as name,
        Receiver() as receiver,
        contextlib.ExitStack() as after_the_children,
        Children(Path(name)) as children,
    ):
        with progress.step("starting a Redis") as step:
            server = redis.start(children, Path(name))
            step.says(f"Redis: {server.description}")
        stage = Stage.on(server, receiver.url, Path(name))
        after_the_children.callback(stage.sweep)
        _tell(progress, children, stage, receiver.harvest)
    return _show(console, receiver.harvest)


def _tell(progress: Progress, children: Children, stage: Stage, harvest: Harvest) -> None:
    """Let the story happen."""
    with progress.step("starting a web process, a Celery worker and an RQ worker") as step:
        shop = flow.Shop.open(children, stage)
        step.says("web process, Celery worker (prefork) and RQ worker, by opentelemetry-instrument")
    with progress.step("two web requests enqueue jobs") as step:
        shop.handle_requests()
        flow.wait_until_told(harvest, step)
    with progress.step("stopping the workers") as step:
        shop.close(children)
        step.says("workers stopped")


def _show(console: Console, harvest: Harvest) -> int:
    found = flow.stories(harvest)
    wrong = problems(found, flow.EXPECTED)
    for number, trace in enumerate(found, start=1):
        poster.print_trace(console, trace, f"{number} of {len(found)}")
    poster.print_closing(console, found, wrong, flow.SHOP)
    return 1 if wrong else 0


@contextlib.contextmanager
def _signals_as_interrupt() -> Generator[None, None, None]:
    """A stop, from whomever, ends the demo through every `finally`; once, or it would be left midway.

    Signals which the caller has ignored (`nohup`) stay ignored.
    """

    def interrupt(number: int, _frame: object) -> None:
        for other in heard:
            signal.signal(other, signal.SIG_IGN)
        previous.clear()  # they stay ignored until this process has ended
        raise KeyboardInterrupt(number)

    heard = [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _save(console: Console, path: Path) -> None:
    if path.suffix == ".svg":
        console.save_svg(str(path), title="otel-taskqueue demo")
    elif path.suffix in {".html", ".htm"}:
        console.save_html(str(path))
    else:
        console.save_text(str(path))
    print(f"saved to {path}", file=sys.stderr)
