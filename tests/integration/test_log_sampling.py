"""LOG_SAMPLING on real workers: whole jobs at a time, and what was held comes when a job did not succeed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from otel_taskqueue.core.logs.sampling import MOST, is_sampled
from support.channels import running_channels
from support.harness import redis_broker
from support.servers import RedisServer
from support.wait import wait_for

Start = Callable[..., Any]
WELL, BADLY = ["three"], ["one", "three", "two"]
OWN_LINES = 5
POOLS = [("celery", "prefork"), ("celery", "threads"), ("celery", "solo"), ("rq", "fork"), ("rq", "simple")]


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """Start a worker that ships the lines of a share of its jobs."""

    def make(share: float, room: str = "celery", pool: str = "", **env: str) -> Any:
        sampling = {"OTEL_PYTHON_TASKQUEUE_LOG_SAMPLING": str(share), **env}
        return stack.enter_context(
            running_channels(redis_broker(redis_server), tmp_path, room, pool, env=sampling)
        )

    with ExitStack() as stack:
        yield make


def bodies(worker: Any, job: str) -> list[str]:
    """The lines about a job that were shipped."""
    return [
        str(line.body)
        for line in worker.receiver.logs()
        if line.attributes.get("messaging.message.id") == job
    ]


def wait_for_warnings(worker: Any, marks: list[str]) -> None:
    """Every job has written its WARNING, and what was sent with it has arrived."""
    missing = lambda: [mark for mark in marks if "three" not in worker.shipped(mark)]  # noqa: E731
    wait_for(lambda: not missing(), 120, "the WARNING of each job", missing)


def test_of_a_share_of_the_jobs_all_lines_are_shipped_of_the_others_none(start: Start) -> None:
    """300 jobs, by several children: their ids decide, so parent and children agree."""
    worker = start(0.5)
    marks = [f"j{number}" for number in range(300)]
    jobs = worker.enqueue_many("end", [[mark, "well"] for mark in marks])
    wait_for_warnings(worker, marks)
    worker.stop_worker()

    found = defaultdict(list)
    for line in worker.receiver.logs():
        found[line.attributes.get("messaging.message.id")].append(line.severity)
    whole = {job for job in jobs if len(found[job]) == 5}  # three of the job, `received`, `succeeded`
    assert {job for job in jobs if found[job] == ["WARN"]} == set(jobs) - whole
    assert whole == {job for job in jobs if is_sampled(job, 0.5)}
    assert 105 <= len(whole) <= 195
    assert 5 * 300 == sum(line.get("job_id") in jobs for line in worker.lines()), "the files have all"


@pytest.mark.parametrize(("room", "pool"), POOLS)
def test_the_held_lines_of_a_job_that_fails_are_shipped(start: Start, room: str, pool: str) -> None:
    """Of one that ends well only the WARNING comes."""
    worker = start(0, room, pool)
    good, bad = worker.enqueue_many("end", [["good", "well"], ["bad", "fail"]])
    worker.wait_for_shipped("bad", BADLY)
    worker.wait_for_shipped("good", WELL)
    worker.stop_worker()

    assert (WELL, BADLY) == (worker.shipped("good"), worker.shipped("bad"))
    assert 1 == len(bodies(worker, good))
    assert len(bodies(worker, bad)) > len(BADLY), "the worker's own lines about the job"
    spans = {span.trace_id for span in worker.process_spans(bad)}
    inside = [line for line in worker.receiver.logs() if str(line.body).startswith("bad ")]
    assert spans == {line.trace_id for line in inside}


@pytest.mark.parametrize(("room", "pool"), [("celery", "prefork"), ("rq", "fork")])
def test_the_held_lines_of_a_job_whose_process_was_killed_are_shipped(
    start: Start, room: str, pool: str
) -> None:
    """They had left the process before."""
    worker = start(0, room, pool)
    worker.enqueue("end", "killed", "kill")
    worker.wait_for_shipped("killed", BADLY)


def test_the_lines_of_an_attempt_that_was_retried_are_shipped(start: Start) -> None:
    """Of the attempt that came after it, and ended well, they are not."""
    worker = start(0)
    worker.enqueue("again", "m")
    worker.wait_for_shipped("m", ["0 one", "0 three", "1 three"])
    worker.stop_worker()

    assert ["0 one", "0 three", "1 three"] == worker.shipped("m")


@pytest.mark.parametrize(("room", "pool"), [("celery", "prefork"), ("celery", "threads")])
def test_of_very_many_held_lines_the_newest_are_shipped(start: Start, room: str, pool: str) -> None:
    """The others are counted as dropped; lines on their way to the parent when the job ended pass unheld."""
    worker = start(0, room, pool, OTEL_BLRP_MAX_QUEUE_SIZE="8192")
    worker.enqueue("flood", "m", MOST + 500)
    wait_for(lambda: "last" in worker.shipped("m"), 30, "the WARNING", lambda: worker.shipped("m")[-3:])
    worker.stop_worker()

    numbers = {int(line) for line in worker.shipped("m") if line != "last"}
    assert set(range(MOST + 500 - len(numbers), MOST + 500)) == numbers
    # Celery's own lines about the task may be among those that were held.
    assert 0 <= len(numbers) + dropped_lines(worker) - (MOST + 500) <= OWN_LINES
    assert len(numbers) >= MOST - OWN_LINES
    if pool == "threads":
        assert len(numbers) <= MOST


def dropped_lines(worker: Any) -> float:
    """What the worker last said of the log lines that it dropped."""
    found = [
        point.value
        for point in worker.receiver.metrics()
        if point.name == "taskqueue.telemetry.dropped"
        and point.attributes.get("taskqueue.telemetry.signal") == "logs"
    ]
    return max(found, default=0)
