"""Workers whose log lines are counted: what reached OTLP, and what the console printed."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from support.apps.notes import DIRECTORY
from support.client import Client
from support.env import base_env, script
from support.otlp import Receiver, Span
from support.otlp.model import LogLine
from support.process import RealProcess
from support.rq_harness import WORKER_CLASSES
from support.servers import RedisServer
from support.wait import wait_for

#: Switches of the two handlers that others offer.
AUTO = "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION"
SDK = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"
SECRET = "TOPSECRET"
MESSAGE_ID, ATTEMPT = "messaging.message.id", "taskqueue.task.attempt"
CATEGORY = "taskqueue.failure.category"
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
        job_id = self.enqueue("chat", SECRET, kwargs={"password": SECRET}, **retries)
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

    def wait_for_shipped(self, text: str, job_id: str | None = None) -> LogLine:
        """Wait until a line has arrived, about this job if one is named."""
        assert self.worker is not None

        def look() -> LogLine | None:
            found = (line for line in self.lines(text) if job_id in {None, line.attributes.get(MESSAGE_ID)})
            return next(found, None)

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

    def sent(self, text: str) -> list[Any]:
        """Everything that arrived and has this text anywhere."""
        receiver = self.receiver
        found = [*receiver.spans(), *receiver.logs(), *receiver.metrics()]
        return [item for item in found if text in repr(item)]

    def categories(self, line: LogLine) -> tuple[object, object]:
        """What kind of failure the line about an attempt's end tells of, and the attempt's span."""
        span = self.attempt(str(line.attributes[MESSAGE_ID]), int(str(line.attributes[ATTEMPT])))
        return line.attributes.get(CATEGORY), span.attributes.get(CATEGORY)

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
def chatting(
    case: Case, client: Client, redis: RedisServer, directory: Path, *, compared: bool
) -> Iterator[tuple[Speaker, Speaker | None, str]]:
    """A worker that has run one job, the bare one that did the same meanwhile, and the job's id."""
    bare = Speaker(case.bare, client, redis, directory / "bare") if compared else None
    with Speaker(case, client, redis, directory) as speaker:
        if bare is not None:
            with bare:
                bare.ready().chat()
        yield speaker, bare, speaker.ready().chat()


def leave_unrestorable(redis: RedisServer) -> None:
    """A message that the next Celery worker finds unacknowledged and cannot restore: kombu logs all of it."""
    message = {"body": SECRET, "headers": "none", "properties": {"token": SECRET}}
    client = Redis.from_url(redis.url())
    client.hset("unacked", "lost", json.dumps([message, "", "nowhere"]))
    client.zadd("unacked_index", {"lost": 0})


@contextmanager
def running_client(redis: RedisServer, directory: Path) -> Iterator[Client]:
    """One client for all workers, with a receiver that nobody looks at."""
    with Receiver() as receiver:
        env = base_env(**receiver.env(), TASKQUEUE_TEST_BROKER=redis.url())
        found = Client("support.apps.logs_client", env, directory / "client.log")
        yield found
        found.stop()


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
