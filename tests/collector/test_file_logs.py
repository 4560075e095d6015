"""Files of JSON lines to OTLP: the names of the live channel, and no line lost whatever dies and moves."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from support.backends.documented import start_of_collector
from support.backends.otelcol import Collector, running_collector
from support.backends.recorder import Recorder
from support.channels import running_channels
from support.harness import redis_broker
from support.otlp import LogLine
from support.servers import RedisServer
from support.wait import wait_for

SERVICE = "shop-worker"
#: Jobs of a burst, and lines of a job.
JOBS, LINES = 5, 1_000
#: Bytes that a third of a burst writes, roughly.
A_THIRD = 600_000
KILLS = 4
FILE_NAME = "log.file.name"
#: What the live channel has and the files do not: where in the code, and what follows from the rest.
ONLY_LIVE = re.compile(r"code\.|thread\.|messaging\.system$|taskqueue\.system$|exception\.message$|process\.")
#: What each severity's text stands for.
NUMBERS = {"INFO": 9, "WARN": 13, "ERROR": 17, "CRITICAL": 21}

pytestmark = [pytest.mark.xdist_group("collector-file-logs"), pytest.mark.timeout(180)]

Start = Callable[..., Any]


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """Start a worker that writes JSON lines, too."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            running_channels(redis_broker(redis_server), tmp_path, **options)
        )


@contextmanager
def tailing(folder: Path, directory: Path, backend: Recorder) -> Iterator[Collector]:
    """The collector as the page about log lines starts it."""
    start = start_of_collector("logs.md", "file-logs.yaml")
    env = {
        "TASKQUEUE_LOG_DIR": str(folder),
        "TASKQUEUE_SERVICE_NAME": SERVICE,
        "LOGS_ENDPOINT": backend.url,
    }
    with running_collector(start.configs, directory, env=env, arguments=start.arguments) as collector:
        yield collector


def bodies(backend: Recorder) -> list[str]:
    """The texts that have arrived."""
    return [str(line.body) for line in backend.logs]


def wait_for_bodies(backend: Recorder, expected: set[str], timeout: float = 60.0) -> Counter[str]:
    """Wait until all have arrived; how often each came."""

    def missing() -> str:
        absent = expected - set(bodies(backend))
        return f"{len(absent)} of {len(expected)} missing, for example {sorted(absent)[:5]}"

    wait_for(lambda: expected <= set(bodies(backend)), timeout, "all lines", missing)
    return Counter(body for body in bodies(backend) if body in expected)


def test_a_line_says_what_the_live_channel_says(start: Start, tmp_path: Path) -> None:
    """Time, severity, text, logger, trace, span and attributes of both channels, line by line."""
    worker = start()
    with Recorder() as backend, tailing(worker.folder, tmp_path / "collector", backend):
        worker.enqueue("levels", "first")
        worker.enqueue("end", "second", "fail")
        worker.enqueue("end", "third", "kill")
        expected = {f"{mark} {word}" for mark in ("second", "third") for word in ("one", "two", "three")}
        wait_for_bodies(backend, expected | {"first ERROR", "first task ERROR"}, 40)
        worker.stop_worker()
        shipped = by_key(worker.receiver.logs())
        jobs = {key for key, line in shipped.items() if line.attributes.get("messaging.message.id")}
        missing = lambda: jobs - set(by_key(backend.logs))  # noqa: E731
        wait_for(lambda: not missing(), 10, "what was shipped, from the files", missing)

    of_files = by_key(backend.logs)
    assert len(jobs) > 14
    for key in jobs:
        assert said(of_files[key]) == said(shipped[key])
        assert abs(of_files[key].time - shipped[key].time) < 2_000, "the file has microseconds"
    assert {line.resource.service for line in backend.logs} == {SERVICE}
    numbers = {record.severity_text: record.severity_number for record in backend.records}
    assert numbers == {text: NUMBERS[text] for text in numbers}
    assert {"INFO", "WARN", "ERROR"} <= set(numbers)


def by_key(found: list[LogLine]) -> dict[tuple[str, str], LogLine]:
    """Each line by its text and job."""
    return {(str(line.body), str(line.attributes.get("messaging.message.id"))): line for line in found}


def said(line: LogLine) -> dict[str, Any]:
    """What both channels can say, except the time."""
    kept = {k: v for k, v in line.attributes.items() if not ONLY_LIVE.match(k) and k != FILE_NAME}
    if stack := kept.get("exception.stacktrace"):
        kept["exception.stacktrace"] = str(stack).rstrip()
    return {
        "severity": line.severity,
        "trace": (line.trace_id, line.span_id),
        "logger": line.scope,
        **kept,
    }


def test_no_line_is_lost_when_the_collector_dies_and_files_move(start: Start, tmp_path: Path) -> None:
    """20,000 lines of recycled children: four kills with -9, files rotated meanwhile, the backend away."""
    worker = start(
        concurrency=2,
        arguments=("--max-tasks-per-child", "2"),
        env={
            "OTEL_PYTHON_TASKQUEUE_LOG_MAX_BYTES": "100 KiB",
            "OTEL_PYTHON_TASKQUEUE_LOG_BACKUPS": "500",
            "OTEL_LOGS_EXPORTER": "none",
        },
    )
    with Recorder() as backend, tailing(worker.folder, tmp_path / "collector", backend) as collector:
        for burst in range(3):
            enqueue(worker, burst)
            wait_for_written(worker, A_THIRD)
            collector.kill()
            if burst == 1:
                wait_for_rotations(worker, 5)
            collector.start()
        backend.answer = lambda _path: 503
        enqueue(worker, 3)
        wait_for(lambda: backend.asked and backend.asked[-1].status == 503, 20, "the backend refuses")
        collector.kill()
        collector.start()
        backend.answer = lambda _path: 200
        expected = {f"j{job}:{number}" for job in range(4 * JOBS) for number in range(LINES)}
        found = wait_for_bodies(backend, expected)
    twice = found.total() - len(found)
    print(f"file-logs: {len(expected)} lines, {rotated(worker)} rotations, 0 missing, {twice} came twice")


def test_a_line_counts_as_read_when_it_is_safe(tmp_path: Path) -> None:
    """Killed in the moment in which its checkpoint says that all is read: then all is on its disk."""
    folder, file = tmp_path / "lines", tmp_path / "lines" / "celery@host-0.jsonl"
    folder.mkdir()
    with Recorder() as backend, tailing(folder, tmp_path / "collector", backend) as collector:
        for number in range(KILLS):
            write(file, range(number * 10, number * 10 + 10))
            wait_for_checkpoint(collector, file.stat().st_size)
            collector.kill()
            collector.start()
        wait_for_bodies(backend, {f"line {number}" for number in range(KILLS * 10)}, 20)


def wait_for_checkpoint(collector: Collector, offset: int) -> None:
    """Wait until the collector has noted that it has read a file up to here."""
    noted = b"\x10" + varint(offset) + b"\x18"  # the second field of a message of protobuf
    databases = lambda: list((collector.directory / "queue" / "checkpoints").iterdir())  # noqa: E731
    look = lambda: any(noted in database.read_bytes() for database in databases())  # noqa: E731
    wait_for(look, 20, f"{noted!r} in the checkpoints", databases)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    left = number >> 7
    return bytes([number & 127 | 128]) + varint(left) if left else bytes([number])


def rotated(worker: Any) -> int:
    """How many rotated files there are."""
    return len(list(worker.folder.glob("*.jsonl.*")))


def wait_for_rotations(worker: Any, more: int) -> None:
    """Wait until there are more rotated files."""
    goal = rotated(worker) + more
    wait_for(lambda: rotated(worker) >= goal, 40, f"{goal} rotations", lambda: rotated(worker))


def wait_for_written(worker: Any, more: int) -> None:
    """Wait until the files have grown by so many bytes."""
    goal = size(worker) + more
    wait_for(lambda: size(worker) >= goal, 40, f"{goal} bytes", lambda: size(worker))


def size(worker: Any) -> int:
    """Bytes of all files; one that is being renamed may be missed."""
    found = 0
    for file in worker.folder.glob("*.jsonl*"):
        with suppress(FileNotFoundError):
            found += file.stat().st_size
    return found


def enqueue(worker: Any, burst: int) -> None:
    """Enqueue jobs that write lines."""
    jobs = range(burst * JOBS, (burst + 1) * JOBS)
    worker.enqueue_many("write", [[f"j{job}", LINES] for job in jobs])


def test_a_stopped_collector_goes_on_where_it_was(tmp_path: Path) -> None:
    """No line comes twice, also of a file that was moved while nobody looked."""
    folder = tmp_path / "lines"
    folder.mkdir()
    file = folder / "celery@host-0.jsonl"
    write(file, range(500))
    with Recorder() as backend, tailing(folder, tmp_path / "collector", backend) as collector:
        wait_for_bodies(backend, {f"line {number}" for number in range(500)}, 20)
        collector.stop()
        write(file, range(500, 700))
        file.rename(folder / "celery@host-0.jsonl.1")
        write(file, range(700, 900))
        collector.start()
        found = wait_for_bodies(backend, {f"line {number}" for number in range(900)}, 20)
    assert set(found.values()) == {1}


def write(file: Path, numbers: range) -> None:
    """Append numbered lines."""
    with file.open("a") as out:
        out.writelines(line(message=f"line {number}") for number in numbers)


def line(**values: Any) -> str:
    """A line as the package writes it."""
    usual = {
        "timestamp": "2026-11-21T12:30:00.123456Z",
        "level": "INFO",
        "logger": "shop.orders",
        "worker": "celery@host",
    }
    return json.dumps({**usual, **values}) + "\n"


def test_odd_lines_arrive_and_keep_what_they_say(tmp_path: Path) -> None:
    """Half a line, fields that somebody's `extra=` has taken, a level without a name, DEBUG."""
    folder = tmp_path / "lines"
    folder.mkdir()
    trace = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}
    taken = {"level": "gold", "timestamp": 5, "trace_id": "mine", "span_id": [1], "job_id": 7}
    (folder / "w-main.jsonl").write_text(
        '{"message": "ha\n'
        + line(message="taken", **taken)
        + line(message="custom", level="Level 25", basket={"a": 9007199254740993})
        + line(message="hidden", level="DEBUG")
        + line(message="plain", job_id="j1", attempt=2, queue="orders", **trace)
    )
    with Recorder() as backend, tailing(folder, tmp_path / "collector", backend) as collector:
        wait_for_bodies(backend, {'{"message": "ha', "taken", "custom", "plain"}, 20)
        assert "hidden" not in bodies(backend)
        assert "error" not in collector.log().lower()

    found = {str(one.body): one for one in backend.logs}
    worker = {"taskqueue.worker.name": "celery@host", FILE_NAME: "w-main.jsonl"}
    assert found["taken"].attributes == {
        **worker,
        "level": "gold",
        "timestamp": 5,
        "trace_id": "mine",
        "span_id": (1,),
        "messaging.message.id": 7,
    }
    assert found["custom"].attributes == {**worker, "level": "Level 25", "basket": {"a": 9007199254740993}}
    assert found["plain"].attributes == {
        **worker,
        "messaging.message.id": "j1",
        "taskqueue.task.attempt": 2,
        "messaging.destination.name": "orders",
    }
    plain = found["plain"]
    assert (plain.trace_id, plain.span_id, plain.scope) == (*trace.values(), "shop.orders")
    assert plain.time == 1_795_264_200_123_456_000
    records = {record.body.string_value: record for record in backend.records}
    assert records["plain"].severity_number == SeverityNumber.SEVERITY_NUMBER_INFO
    assert records["taken"].severity_number == SeverityNumber.SEVERITY_NUMBER_UNSPECIFIED
