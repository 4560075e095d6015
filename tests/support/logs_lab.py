"""Workers whose log lines are counted: what reached OTLP, and what the console printed."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.apps.notes import DIRECTORY
from support.client import Client
from support.env import base_env, script
from support.otlp import Receiver, Span
from support.otlp.model import LogLine
from support.process import RealProcess
from support.rq_harness import WORKER_CLASSES
from support.servers import RedisServer
from support.wait import wait_for

MATRIX = "OTEL_TASKQUEUE_LOG_MATRIX"
MESSAGE_ID, ATTEMPT = "messaging.message.id", "taskqueue.task.attempt"
_serial = itertools.count(1)
_CELERY = ["-A", "support.apps.logs_celery", "worker", "-l", "INFO", "--without-gossip", "--without-mingle"]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run a worker. ``setup``: what the application does; ``auto``: under the launcher."""

    name: str
    room: str
    pool: str
    setup: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    auto: bool = True
    arguments: tuple[str, ...] = ()

    @property
    def bare(self) -> Case:
        """The same without any telemetry."""
        words = self.setup.split()
        setup = " ".join(
            w for w in words if w not in {"manual", "contrib", "given", "own_handlers", "in_child"}
        )
        return Case(
            f"{self.name}, bare", self.room, self.pool, setup, {}, auto=False, arguments=self.arguments
        )


class Speaker:
    """One worker with its own queue and receiver."""

    def __init__(self, case: Case, client: Client, redis: RedisServer, directory: Path) -> None:
        self.case = case
        self.client = client
        self.receiver = Receiver()
        self.queue = f"talk{next(_serial)}x{os.getpid()}"
        self.worker_name = f"{self.queue}@localhost" if case.room == "celery" else f"w-{self.queue}"
        self.directory = directory / self.queue
        self._redis = redis
        self.worker: RealProcess | None = None

    def __enter__(self) -> Speaker:
        self.directory.mkdir(parents=True)
        self.receiver.start()
        self.worker = self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker is not None:
            self.worker.stop()
        self.receiver.stop()

    def ready(self) -> Speaker:
        """Wait until it takes jobs."""
        assert self.worker is not None
        line = r"ready\." if self.case.room == "celery" else f"Listening on {self.queue}"
        if {"own_setup", "hijack_off", "basic_before"} & set(self.case.setup.split()):
            line = f"{line}|ready"
        self.worker.wait_for_line(line, 60)
        return self

    def enqueue(self, name: str, *args: object, **options: object) -> str:
        """Enqueue a job of this worker's."""
        return self.client.call(self.case.room, name, self.queue, list(args), **options).job_id

    def chat(self) -> str:
        """One job with two attempts, and the worker's stop after it."""
        retries = {"retries": 1} if self.case.room == "rq" else {}
        job_id = self.enqueue("chat", "TOPSECRET", kwargs={"password": "TOPSECRET"}, **retries)
        ends = {"celery": f"{job_id}] succeeded", "rq": "esult is kept"}
        self.wait_for_line(ends[self.case.room])
        self.stop()
        return job_id

    def wait_for_line(self, text: str) -> None:
        """Wait until the console has a line, or the receiver where the console is not the test's."""
        assert self.worker is not None
        wait_for(
            lambda: text in self.console() or any(text in str(line.body) for line in self.receiver.logs()),
            40,
            text,
            self.worker.tail,
        )

    def wait_for_shipped(self, text: str) -> LogLine:
        """Wait until a line has arrived."""
        assert self.worker is not None

        def look() -> LogLine | None:
            return next((line for line in self.receiver.logs() if text in str(line.body)), None)

        seen = lambda: [str(line.body)[:150] for line in self.receiver.logs()]  # noqa: E731
        found = wait_for(
            look, 30, f"{text!r} shipped", lambda: f"{seen()}\n{self.worker and self.worker.tail()}"
        )
        assert found is not None
        return found

    def stop(self) -> None:
        """Stop the worker warmly: everything has been sent then."""
        assert self.worker is not None
        stopped = self.worker.stop(timeout=30)
        assert not stopped.killed, self.worker.tail()

    def console(self) -> str:
        """Everything that the worker has printed."""
        assert self.worker is not None
        return self.worker.output()

    def lines(self, text: str) -> list[LogLine]:
        """What arrived with this text."""
        return [line for line in self.receiver.logs() if text in str(line.body)]

    def attempt(self, job_id: str, number: int) -> Span:
        """The process span of an attempt."""
        spans = [s for s in self.receiver.job_spans(job_id) if s.kind == "CONSUMER"]
        return next(span for span in spans if span.attributes[ATTEMPT] == number)

    def _start(self) -> RealProcess:
        launcher = [script("opentelemetry-instrument")] if self.case.auto else []
        return RealProcess(
            f"worker {self.case.name}",
            [*launcher, *self._command()],
            env={**self._env(), **self.case.env},
            log=self.directory / "worker.log",
            cwd=self.directory,
        )

    def _env(self) -> dict[str, str]:
        return base_env(
            **self.receiver.env(),
            OTEL_SERVICE_NAME=self.queue,
            OTEL_METRICS_EXPORTER="none",
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_BLRP_SCHEDULE_DELAY="100",
            OTEL_TASKQUEUE_RAISE_INTERNAL_ERRORS="1",
            TASKQUEUE_TEST_BROKER=self._redis.url(),
            TASKQUEUE_TEST_BACKEND=self._redis.url(),
            TASKQUEUE_TEST_LOGS=self.case.setup,
            **{DIRECTORY: str(self.directory)},
        )

    def _command(self) -> Sequence[str]:
        if self.case.room == "celery":
            pool = [] if self.case.pool == "solo" else ["-c", "1"]
            where = ["-n", self.worker_name, "-Q", self.queue, "-P", self.case.pool, *pool]
            return [script("celery"), *_CELERY, *where, *self.case.arguments]
        kind = ["--worker-class", WORKER_CLASSES[self.case.pool], "--name", self.worker_name]
        command = ["worker", "--url", self._redis.url(), *kind, *self.case.arguments, self.queue]
        if self.case.auto:
            return [script("rq"), *command]
        return ["python", "-m", "support.apps.logs_rq_worker", *command]


@contextmanager
def speaking(case: Case, client: Client, redis: RedisServer, directory: Path) -> Iterator[Speaker]:
    """A worker that takes jobs."""
    with Speaker(case, client, redis, directory) as speaker:
        yield speaker.ready()


@contextmanager
def running_client(redis: RedisServer, directory: Path) -> Iterator[Client]:
    """One client for all workers, with a receiver that nobody looks at."""
    with Receiver() as receiver:
        env = base_env(**receiver.env(), TASKQUEUE_TEST_BROKER=redis.url())
        found = Client("support.apps.logs_client", env, directory / "client.log")
        yield found
        found.stop()


class Matrix:
    """Case x logger -> how often each line arrived, and whether it named its attempt."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._rows: dict[str, dict[str, str]] = {}

    def add(self, case: Case, kind: str, count: int, *, ids: bool) -> None:
        """One field: 1 means that each text of this kind arrived once."""
        said = f"{count}{'' if ids else ', ids wrong'}"
        known = self._rows.setdefault(f"{case.name} ({case.pool})", {}).get(kind)
        if known is None or known == "1":
            self._rows[f"{case.name} ({case.pool})"][kind] = said

    def write(self) -> None:
        """Append the table to the file that is asked for."""
        path = os.environ.get(MATRIX)
        if not path or not self._rows:
            return
        kinds = list(dict.fromkeys(kind for row in self._rows.values() for kind in row))
        text = [f"\n## {self._room}\n\n| case | {' | '.join(kinds)} |\n|{' --- |' * (len(kinds) + 1)}\n"]
        for name, row in self._rows.items():
            text.append(f"| {name} | {' | '.join(row.get(kind, '-') for kind in kinds)} |\n")
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(text)


_PARTS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+|\b\d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"talk\d+x\d+"), "<queue>"),
    (re.compile(r"PID \d+|pid:\d+"), "<pid>"),
    (re.compile(r"\b0x[0-9a-f]+"), "<address>"),
    (re.compile(r"\d+:\d\d:\d\d\.\d+s|\d+\.\d+(e-\d+)?s"), "<seconds>"),
    (re.compile(r"line \d+"), "<line>"),
    (re.compile(r"(?<=\S) {2,}"), " "),
    # RQ says this when its stop comes between two looks into the queue.
    (re.compile(r"^[^\n]*: stopping on request\n", re.MULTILINE), ""),
)
_FRAME = re.compile(r'^  File ".*/otel_taskqueue/[^\n]*\n(?:    [^\n]*\n)*', re.MULTILINE)


def printed(speaker: Speaker) -> Counter[str]:
    """The console's lines without times, ids and the frames of our wrappers."""
    text = _FRAME.sub("", speaker.console())
    for pattern, stands_for in _PARTS:
        text = pattern.sub(stands_for, text)
    return Counter(text.splitlines())
