"""Which lines of a real worker are shipped, written and printed, and how that changes while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.channels import running_channels
from support.harness import redis_broker
from support.servers import RedisServer
from support.wait import wait_for

Start = Callable[..., Any]
ALL = ("DEBUG", "INFO", "WARNING", "ERROR")
FROM_INFO = ALL[1:]
FROM_WARNING = ALL[2:]
#: The file is looked at every five seconds.
SOON = 6.5


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """Start a worker for one test."""
    with ExitStack() as stack:
        yield lambda room="celery", pool="", **options: stack.enter_context(
            running_channels(redis_broker(redis_server), tmp_path, room, pool, **options)
        )


def tasks(levels: Sequence[str]) -> list[str]:
    """The lines by a task logger."""
    return [f"task {level}" for level in levels]


def modules(levels: Sequence[str]) -> list[str]:
    """The lines by a module's logger."""
    return [f"module {level}" for level in levels]


def told(worker: Any, mark: str) -> dict[str, list[str]]:
    """Where the lines of a job got, once all that was on its way has arrived."""
    worker.enqueue("levels", mark)
    worker.pass_one()
    ways = {"shipped": worker.shipped, "written": worker.written, "printed": worker.printed}
    return {name: find(mark) for name, find in ways.items()}


def test_info_and_above_everywhere(start: Start) -> None:
    """A worker at INFO: one line of each level in each channel, DEBUG in none."""
    expected = sorted([*FROM_INFO, *tasks(FROM_INFO)])
    assert {"shipped": expected, "written": expected, "printed": expected} == told(start(concurrency=1), "m")


def test_debug_stays_local(start: Start) -> None:
    """A worker at DEBUG: it is printed and written, never shipped."""
    expected, shipped = sorted([*ALL, *tasks(ALL)]), sorted([*FROM_INFO, *tasks(FROM_INFO)])
    found = told(start(concurrency=1, arguments=("-l", "DEBUG")), "m")

    assert {"shipped": shipped, "written": expected, "printed": expected} == found


@pytest.mark.parametrize(
    ("text", "shipped", "written"),
    [
        ("file=DEBUG", FROM_INFO, ALL),
        ("ship=DEBUG", ALL, FROM_INFO),
        ("ship=WARNING\nfile=ERROR", FROM_WARNING, ALL[3:]),
    ],
)
def test_a_channel_has_the_level_that_the_file_names(
    start: Start, tmp_path: Path, text: str, shipped: Sequence[str], written: Sequence[str]
) -> None:
    """By channel; the console prints what it printed."""
    level_file = tmp_path / "levels"
    level_file.write_text(text)
    worker = start(concurrency=1, env={"OTEL_PYTHON_TASKQUEUE_LOG_LEVEL_FILE": str(level_file)})

    assert {
        "shipped": sorted([*shipped, *tasks(shipped)]),
        "written": sorted([*written, *tasks(written)]),
        "printed": sorted([*FROM_INFO, *tasks(FROM_INFO)]),
    } == told(worker, "m")


def test_levels_change_in_the_middle_of_a_job(start: Start) -> None:
    """A child that writes nothing but DEBUG lines hears of it as well, and of the end of it."""
    worker = start(concurrency=1)
    worker.enqueue("until", "stuck", 3 * SOON)
    time_of_change = time.monotonic()
    worker.level_file.write_text("file=DEBUG\n")
    wait_for(lambda: worker.written("stuck"), SOON, "DEBUG lines in the file")
    assert time.monotonic() - time_of_change <= SOON
    worker.level_file.unlink()

    def silent() -> bool:
        before = len(worker.written("stuck"))
        time.sleep(0.5)  # ten lines' worth
        return len(worker.written("stuck")) == before

    wait_for(silent, SOON, "no more DEBUG lines")
    assert not worker.notes("stuck", "done"), "the job has ended before its levels changed"
    assert [] == worker.shipped("stuck")
    assert [] == worker.printed("stuck")


def test_work_horses_have_the_levels_of_now(start: Start) -> None:
    """RQ's root logger lets WARNING pass: what is named is opened, what the user levelled is not."""
    worker = start("rq")
    before = told(worker, "before")
    worker.level_file.write_text("file=DEBUG\nlogger.rq.worker.shop=DEBUG\n")
    wait_for(lambda: "module DEBUG" in told(worker, "during")["written"], 3 * SOON, "DEBUG lines")
    after = told(worker, "after")

    assert sorted([*FROM_INFO, *modules(FROM_WARNING)]) == before["shipped"] == before["written"]
    assert sorted(FROM_INFO) == [line for line in before["printed"] if "module" not in line]
    assert sorted([*ALL, *modules(ALL)]) == after["written"]
    assert before["shipped"] == after["shipped"]
    assert sorted(ALL) == [line for line in after["printed"] if "module" not in line]
