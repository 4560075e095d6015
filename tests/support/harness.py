"""One worker of one room with its client: what the conformance scenarios drive.

A room adds a subclass which knows how its worker is started and how its client enqueues.
"""

from __future__ import annotations

import itertools
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from support.apps.notes import DIRECTORY, read_notes
from support.client import Client, Reply
from support.env import base_env, script
from support.otlp import Receiver, Span
from support.otlp.tree import dangling, draw
from support.process import RealProcess, Stopped
from support.servers import RabbitServer, RedisServer
from support.wait import wait_for

WORKER_START_SECONDS = 60.0
FAILED_SET_UP = "Failed to auto initialize OpenTelemetry"
_serial = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker as the scenarios see it; ``system`` is the value of ``messaging.system``."""

    system: str
    url: str
    host: str
    port: int
    redis: RedisServer

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never appear in telemetry."""
        return tuple({self.redis.password, self.url.partition("@")[0].rpartition(":")[2]})


def redis_broker(server: RedisServer) -> Broker:
    """Redis as the broker."""
    return Broker("redis", server.url(), server.host, server.port, server)


def rabbit_broker(server: RabbitServer, redis: RedisServer) -> Broker:
    """RabbitMQ as the broker; results stay in Redis."""
    return Broker("rabbitmq", server.url(), server.host, server.port, redis)


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker and its client are started.

    ``env`` is added to the worker's environment, ``client_env`` to the client's,
    ``conf`` is the application's own configuration, ``app`` the module that holds it (empty: the
    room's), ``batch_delay`` the SDK's, in seconds.
    """

    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    client_env: Mapping[str, str] = field(default_factory=dict)
    conf: Mapping[str, Any] = field(default_factory=dict)
    app: str = ""
    concurrency: int = 2
    batch_delay: float = 0.1
    instrumented: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """One enqueued job and what its caller saw."""

    id: str
    reply: Reply


class EnqueueCall(Protocol):
    """What a scenario asks a room to enqueue."""

    @property
    def case(self) -> str: ...
    @property
    def args(self) -> Sequence[Any]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def then(self) -> str: ...


class Harness(ABC):
    """A worker with its own queue, a client, and a receiver."""

    room: ClassVar[str]
    client_module: ClassVar[str]

    def __init__(
        self,
        broker: Broker,
        receiver: Receiver,
        directory: Path,
        *,
        pool: str,
        options: Options | None = None,
    ) -> None:
        name = f"{self.room}-{pool}-{broker.system}-{next(_serial)}-{uuid.uuid4().hex[:6]}"
        self.broker = broker
        self.receiver = receiver
        self.pool = pool
        self.options = options or Options()
        self.queue = f"q-{name}"
        self.directory = directory / name
        self.notes_directory = self.directory / "notes"
        self.notes_directory.mkdir(parents=True)
        self.worker_service = f"worker-{name}"
        self.client_service = f"client-{name}"
        self.worker: RealProcess | None = None
        # Jobs whose attempts were counted, for the look back after the stop.
        self.checked: dict[str, int] = {}
        self._client: Client | None = None

    # --- what a room knows ---------------------------------------------------------------------
    @property
    @abstractmethod
    def worker_name(self) -> str:
        """The value of ``taskqueue.worker.name``."""

    @abstractmethod
    def worker_command(self) -> Sequence[str]:
        """The command line of the worker, without ``opentelemetry-instrument``."""

    @abstractmethod
    def ready_line(self) -> str:
        """What the worker prints when it takes jobs."""

    @abstractmethod
    def app_env(self) -> Mapping[str, str]:
        """What the application itself reads from the environment."""

    @abstractmethod
    def publish(self, case: str, *args: Any, **how: Any) -> Job:
        """Enqueue one job of a case from inside a span called ``request``."""

    @abstractmethod
    def cancel(self, job_id: str) -> None:
        """Revoke a job that has not started."""

    @abstractmethod
    def interrupt(self, job_id: str) -> None:
        """Stop a job that runs."""

    @abstractmethod
    def task_name(self, case: str) -> str:
        """The name of a case's task in spans."""

    # --- its life --------------------------------------------------------------------------------
    def env(self, service: str) -> dict[str, str]:
        """The environment of a process which exports to our receiver as ``service``."""
        delay = str(int(self.options.batch_delay * 1000))
        return base_env(
            **self.receiver.env(),
            OTEL_SERVICE_NAME=service,
            OTEL_BSP_SCHEDULE_DELAY=delay,
            OTEL_BLRP_SCHEDULE_DELAY=delay,
            TASKQUEUE_TEST_QUEUE=self.queue,
            TASKQUEUE_TEST_REDIS=self.broker.redis.url(),
            **{DIRECTORY: str(self.notes_directory)},
            **self.app_env(),
        )

    def launch(self) -> RealProcess:
        """Start the worker without waiting for it; it shares the machine with the client's start."""
        prefix = [script("opentelemetry-instrument")] if self.options.instrumented else []
        self.worker = RealProcess(
            f"worker {self.worker_name}",
            [*prefix, *self.worker_command()],
            env={
                **self.env(self.worker_service),
                "TASKQUEUE_TEST_ROLE": "worker",
                **self.options.env,
            },
            log=self.directory / "worker.log",
            cwd=self.directory,
        )
        return self.worker

    def start(self) -> Harness:
        """Start worker and client, and wait until the worker takes jobs."""
        worker = self.launch()
        try:
            _ = self.client
            worker.wait_for_line(self.ready_line(), WORKER_START_SECONDS)
            assert FAILED_SET_UP not in worker.output(), worker.tail()
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def client(self) -> Client:
        """The client process, started when first needed."""
        if self._client is None:
            self._client = Client(
                self.client_module,
                # A client's spans are needed at once, whatever the worker's delay is.
                {
                    **self.env(self.client_service),
                    "OTEL_BSP_SCHEDULE_DELAY": "50",
                    **self.options.client_env,
                },
                self.directory / "client.log",
            )
        return self._client

    def stop_worker(self, timeout: float = 30.0) -> Stopped:
        """Stop the worker warmly; the result tells how that went."""
        assert self.worker is not None
        return self.worker.stop(timeout=timeout)

    def stop(self) -> None:
        """Stop what was started."""
        if self.worker is not None:
            self.worker.stop()
        if self._client is not None:
            self._client.stop()

    def run(self, call: EnqueueCall) -> Job:
        """Set a scenario off: enqueue, then do to the job what the call says."""
        job = self.publish(call.case, *call.args, **call.options)
        if call.then == "cancel":
            self.cancel(job.id)
        elif call.then == "stop":
            self.wait_for_note(job.id)
            self.interrupt(job.id)
        return job

    # --- what the scenarios ask ---------------------------------------------------------------------
    def notes(self, job_id: str, what: str | None = None) -> list[Mapping[str, Any]]:
        """What the job's code told about itself."""
        notes = read_notes(self.notes_directory, job_id)
        return [note for note in notes if what is None or note["what"] == what]

    def wait_for_note(self, job_id: str, what: str = "ran", count: int = 1) -> Mapping[str, Any]:
        """Wait until the job's code has told ``what`` for the ``count``-th time."""
        wait_for(lambda: len(self.notes(job_id, what)) >= count, 20, f"note {what!r}", self.explain)
        return self.notes(job_id, what)[count - 1]

    def process_spans(self, job_id: str) -> list[Span]:
        """The attempts of a job that have arrived, oldest start first."""
        return [span for span in self.receiver.job_spans(job_id) if span.kind == "CONSUMER"]

    def send_spans(self, job_id: str) -> list[Span]:
        """The publish calls of a job that have arrived, oldest start first."""
        return [span for span in self.receiver.job_spans(job_id) if span.kind == "PRODUCER"]

    def wait_for_attempts(self, job_id: str, count: int, timeout: float = 30.0) -> list[Span]:
        """Wait for ``count`` process spans and at least one send span of a job."""

        def complete() -> bool:
            return len(self.process_spans(job_id)) >= count and bool(self.send_spans(job_id))

        wait_for(complete, timeout, f"{count} attempts of {job_id}", lambda: self.explain(job_id))
        return self.process_spans(job_id)

    def wait_for_whole_trace(self, trace_id: str, timeout: float = 15.0) -> list[Span]:
        """Wait until no span of a trace has a parent that is still missing."""
        wait_for(
            lambda: not dangling(self.receiver.trace(trace_id)),
            timeout,
            "every parent has arrived",
            lambda: draw(self.receiver.trace(trace_id)) + "\n" + self.explain(),
        )
        return self.receiver.trace(trace_id)

    def fence(self) -> None:
        """Let one more job pass: what was on its way before it has arrived."""
        job = self.publish("ok")
        self.wait_for_attempts(job.id, 1)

    def explain(self, job_id: str = "") -> str:
        """Everything a person needs to understand a failure."""
        about = {span.trace_id for span in self.receiver.job_spans(job_id)}
        spans = [span for span in self.receiver.spans() if span.trace_id in about]
        parts = [draw(spans), f"notes: {self.notes(job_id)}" if job_id else ""]
        parts.append(self.worker.tail() if self.worker else "no worker")
        return "\n".join(parts)

    def __enter__(self) -> Harness:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
