"""The JSON lines channel of real workers: one file per slot, every line once, whatever happens."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.channels import each_line, read_lines, running_channels
from support.harness import redis_broker
from support.servers import RedisServer
from support.wait import wait_for

Start = Callable[..., Any]
CHILDREN, JOBS = 8, 80
LINES = CHILDREN * int(os.environ.get("TASKQUEUE_TEST_LINES_PER_CHILD", "100000"))


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """Start a worker for one test."""
    with ExitStack() as stack:
        yield lambda room="celery", pool="", **options: stack.enter_context(
            running_channels(redis_broker(redis_server), tmp_path, room, pool, **options)
        )


def wait_for_end(worker: Any, jobs: list[str], timeout: float = 120) -> None:
    """Wait until the spans of these jobs have arrived."""

    def ended() -> set[Any]:
        return {s.attributes["messaging.message.id"] for s in worker.receiver.spans() if s.kind == "CONSUMER"}

    wait_for(lambda: set(jobs) <= ended(), timeout, "all jobs have ended", lambda: len(ended()))


@pytest.mark.timeout(400 + LINES // 500)
def test_eight_children_that_are_recycled_lose_and_tear_no_line(start: Start) -> None:
    """100,000 lines of each slot, rotated on their way; a child ends after two jobs and another goes on."""
    each = LINES // JOBS
    worker = start(
        concurrency=CHILDREN,
        arguments=("--max-tasks-per-child", "2"),
        env={
            "OTEL_PYTHON_TASKQUEUE_LOG_MAX_BYTES": "2 MiB",
            "OTEL_PYTHON_TASKQUEUE_LOG_BACKUPS": "500",
            "OTEL_LOGS_EXPORTER": "none",
        },
    )
    jobs = worker.enqueue_many("write", [[f"j{job}", each] for job in range(JOBS)])
    wait_for_end(worker, jobs, LINES / 300)
    worker.stop_worker()

    lines = each_line(worker.folder)
    found = Counter(line["message"] for line in lines if line["logger"] == "shop.orders")
    assert found == {f"j{job}:{number}": 1 for job in range(JOBS) for number in range(each)}
    names = {file.name for file in worker.folder.iterdir()}
    assert {f"{worker.worker_name}-{slot}.jsonl" for slot in (*range(CHILDREN), "main")} == {
        name for name in names if name.endswith(".jsonl")
    }
    assert len(names) > 1 + 2 * CHILDREN, "nothing was rotated"


def test_a_line_says_which_attempt_wrote_it(start: Start) -> None:
    """Short names, ids of job and trace; the worker's own lines about the job have them, too."""
    worker = start()
    job = worker.enqueue("levels", "m")
    wait_for_end(worker, [job])
    span = worker.process_spans(job)[0]
    worker.stop_worker()

    lines = [line for line in worker.lines() if line.get("job_id") == job]
    assert {"m INFO", "m task INFO", f"Task support.apps.channel_celery.levels[{job}] received"} <= {
        line["message"] for line in lines
    }
    about = ("task", "queue", "attempt", "worker")
    assert {("support.apps.channel_celery.levels", worker.queue, 1, worker.worker_name)} == {
        tuple(line[key] for key in about) for line in lines
    }
    inside = [line for line in lines if line["message"].startswith("m ")]
    assert {(span.trace_id, span.span_id)} == {(line["trace_id"], line["span_id"]) for line in inside}
    assert {span.trace_id} == {line["trace_id"] for line in lines}


@pytest.mark.parametrize("room", ["celery", "rq"])
def test_what_the_library_says_about_a_job_has_no_payload(start: Start, room: str) -> None:
    """The console may print the call; the file is tailed by a collector."""
    worker = start(room)
    job = worker.enqueue("write", "hunter2", 0)
    wait_for_end(worker, [job])
    worker.stop_worker()

    about = [line for line in worker.lines() if line.get("job_id") == job]
    assert about, "the library said nothing about the job"
    assert "hunter2" not in "".join(file.read_text() for file in worker.folder.iterdir())


def test_odd_lines_are_valid_and_keep_the_users_fields(start: Start) -> None:
    """Newlines, bytes, arguments that do not fit, an object that cannot be printed, a very long text."""
    worker = start(concurrency=1)
    wait_for_end(worker, [worker.enqueue("odd")])
    worker.stop_worker()

    lines = [line for line in worker.lines() if line["logger"] == "shop.orders"]
    assert "say \"hello\"\nand 大阪 b'\\xff'" == lines[0]["message"]
    assert lines[1]["message"].startswith("%d items")
    assert "theirs" == lines[2]["job_id"]
    assert lines[3]["message"].startswith("xxxx")
    assert 4 == len(lines)


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_a_worker_of_one_process_has_one_file(start: Start, pool: str) -> None:
    """Its slot is `main`."""
    worker = start(pool=pool)
    jobs = worker.enqueue_many("write", [[f"j{job}", 50] for job in range(8)])
    wait_for_end(worker, jobs)
    worker.stop_worker()

    assert [f"{worker.worker_name}-main.jsonl"] == [file.name for file in worker.folder.iterdir()]
    found = Counter(line["message"] for line in worker.lines() if line["logger"] == "shop.orders")
    assert found == {f"j{job}:{number}": 1 for job in range(8) for number in range(50)}


def test_work_horses_go_on_in_one_file(start: Start) -> None:
    """One after the other, also after one that was killed."""
    worker = start("rq")
    jobs = worker.enqueue_many("write", [[f"j{job}", 300] for job in range(6)])
    jobs.append(worker.enqueue("end", "k", "kill"))
    jobs += worker.enqueue_many("write", [[f"j{job}", 300] for job in range(6, 9)])
    wait_for_end(worker, jobs)
    worker.stop_worker()

    found = Counter(line["message"] for line in worker.lines() if line["logger"] == "rq.worker.shop")
    marks = {f"j{job}:{number}": 1 for job in range(9) for number in range(300)}
    assert found == {**marks, "k one": 1, "k two": 1, "k three": 1}
    assert {f"{worker.worker_name}-{slot}.jsonl" for slot in ("main", "horse")} == {
        file.name for file in worker.folder.iterdir()
    }


def test_two_workers_share_a_folder(start: Start, tmp_path: Path) -> None:
    """Each with files of its own."""
    shared = tmp_path / "shared"
    env = {"OTEL_PYTHON_TASKQUEUE_LOG_DIR": str(shared)}
    first, second = start(env=env), start("rq", env=env)
    wait_for_end(first, first.enqueue_many("write", [["a", 100]]))
    wait_for_end(second, second.enqueue_many("write", [["b", 100]]))

    for worker, mark in ((first, "a"), (second, "b")):
        worker.stop_worker()
        lines = [line for line in read_lines(shared) if line["message"].startswith(f"{mark}:")]
        assert 100 == len(lines)
        assert {worker.worker_name} == {line["worker"] for line in lines}


def test_a_killed_child_leaves_a_file_that_the_next_one_can_use(start: Start) -> None:
    """Half a line stays half a line; the next is whole."""
    worker = start(concurrency=1)
    torn = worker.folder / f"{worker.worker_name}-0.jsonl"
    wait_for_end(worker, [worker.enqueue("tear", str(torn))])
    wait_for_end(worker, [worker.enqueue("write", "second", 5)])
    worker.stop_worker()

    lines = torn.read_text().splitlines()
    bad = [line for line in lines if not line.endswith("}")]
    assert ['{"message": "ha'] == bad
    messages = [json.loads(line)["message"] for line in lines if line not in bad]
    expected = ["first", "second:0", "second:4"]
    assert expected == [message for message in messages if message in expected]


def test_a_folder_that_cannot_be_written_is_told_once_and_jobs_go_on(start: Start, tmp_path: Path) -> None:
    """A file stands where the folder should be; no permission is asked of root."""
    (tmp_path / "taken").write_text("")
    worker = start(env={"OTEL_PYTHON_TASKQUEUE_LOG_DIR": str(tmp_path / "taken")})
    jobs = worker.enqueue_many("levels", [[f"j{job}"] for job in range(10)])
    wait_for_end(worker, jobs)

    assert {"success"} == {worker.process_spans(job)[0].attributes["taskqueue.task.outcome"] for job in jobs}
    told = [line for line in worker.worker.output().splitlines() if "log lines cannot be written" in line]
    assert 1 == len(told), told
    assert "taken" in told[0]


def test_a_full_disk_is_told_and_jobs_go_on(start: Start, tmp_path: Path) -> None:
    """`/dev/full` refuses every byte, as a full disk does."""
    folder = tmp_path / "full"
    folder.mkdir()
    env = {"OTEL_PYTHON_TASKQUEUE_LOG_DIR": str(folder)}
    worker = start("rq", env=env)
    (folder / f"{worker.worker_name}-horse.jsonl").symlink_to("/dev/full")
    wait_for_end(worker, [worker.enqueue("end", "m", "well")])

    assert "No space left on device" in worker.worker.output()


def test_a_name_that_is_no_file_name_is_written_differently(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """A slash makes no folder."""
    from support.channels import RQChannels
    from support.otlp import Receiver

    class Slashed(RQChannels):
        @property
        def worker_name(self) -> str:
            return f"team/a%h-{self.queue}"

    with (
        Receiver() as receiver,
        Slashed(redis_broker(redis_server), receiver, tmp_path, pool="simple") as worker,
    ):
        wait_for_end(worker, [worker.enqueue("levels", "m")])

        assert [f"team%2Fa%25h-{worker.queue}-main.jsonl"] == [file.name for file in worker.folder.iterdir()]
        assert {worker.worker_name} == {line["worker"] for line in worker.lines()}
        assert 1 == worker.worker.output().count("cannot name a file")
