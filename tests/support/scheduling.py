"""Real schedulers (beat, `rq cron`), what they tell in Redis, and what the observer makes of it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from otel_taskqueue import meters, semconv
from otel_taskqueue.core.schedule import Schedule, from_json
from otel_taskqueue.observe.readings import Reading
from otel_taskqueue.observe.schedules import Schedules
from support.env import base_env, script
from support.otlp import Receiver
from support.process import RealProcess
from support.servers import RedisServer
from support.wait import wait_for

APP = "support.apps.scheduled"
PREFIX = "otel-taskqueue:schedule:"


def client_of(server: RedisServer) -> Any:
    """A client; empty at the beginning of each test."""
    client = redis.Redis.from_url(server.url())
    client.flushdb()
    return client


def beat(
    folder: Path,
    receiver: Receiver,
    broker: str,
    schedule: Mapping[str, Any],
    *,
    backend: str | None = None,
    embedded: bool = False,
    **env: str,
) -> RealProcess:
    """Start an instrumented beat, alone or in a worker; the schedule file is new each time."""
    where = {"TASKQUEUE_TEST_BACKEND": backend} if backend else {}
    own = base_env(
        **receiver.env(),
        **where,
        TASKQUEUE_TEST_BROKER=broker,
        TASKQUEUE_TEST_QUEUE="ticks",
        TASKQUEUE_TEST_SCHEDULE=json.dumps(schedule),
        OTEL_SERVICE_NAME="beat",
        OTEL_BSP_SCHEDULE_DELAY="100",
        **env,
    )
    name = f"beat-{uuid.uuid4().hex[:6]}"
    kind = ["worker", "-B", "-P", "prefork", "-c", "1"] if embedded else ["beat", "--pidfile="]
    command = [script("opentelemetry-instrument"), script("celery"), "-A", APP, *kind]
    where_to = ["-s", str(folder / name), "-l", "INFO"]
    return RealProcess(name, [*command, *where_to], env=own, log=folder / f"{name}.log", cwd=folder)


def told(client: Any, key: str) -> dict[str, Schedule]:
    """What is told under ``otel-taskqueue:schedule:<key>``."""
    found = (from_json(value) for value in client.hgetall(PREFIX + key).values())
    return {schedule.name: schedule for schedule in found if schedule is not None}


def wait_for_run(client: Any, key: str, name: str, process: RealProcess, after: float = 0.0) -> Schedule:
    """Wait until a schedule tells of a run after a unix time."""

    def look() -> Schedule | None:
        schedule = told(client, key).get(name)
        return schedule if schedule is not None and (schedule.last_run or 0.0) > after else None

    found = wait_for(look, 30, f"a run of {name}", lambda: f"{told(client, key)}\n{process.tail()}")
    assert found is not None
    return found


class Looks:
    """An observer with a short grace, without its loop: the sums of what its looks said."""

    def __init__(self, client: Any, system: str, grace: float = 1.0) -> None:
        self._source = Schedules(client, system, "test", grace=grace)
        self.missed: dict[str, float] = {}
        self.lags: dict[str, list[float]] = {}
        self.last_runs: dict[str, float] = {}
        self.commands = 0

    def look(self) -> Looks:
        """Look once."""
        seen = self._source.read(time.time())
        self.commands = seen.commands
        self.last_runs = {}
        for reading in seen.readings:
            self._take(reading)
        return self

    def _take(self, reading: Reading) -> None:
        name = reading.attributes[semconv.SCHEDULE_NAME]
        if reading.metric is meters.SCHEDULE_LAST_RUN:
            self.last_runs[name] = reading.value
        elif reading.metric is meters.SCHEDULE_MISSED:
            self.missed[name] = self.missed.get(name, 0) + reading.value
        else:
            self.lags.setdefault(name, []).append(reading.value)


def cron(folder: Path, receiver: Receiver, server: RedisServer, *registered: str) -> RealProcess:
    """Start an instrumented `rq cron`; each line holds the keywords of one `register`."""
    lines = [f"cron.register(ok, queue_name='ticks', {keywords})" for keywords in registered]
    schedule = folder / "schedule.py"
    schedule.write_text("\n".join(["from rq import cron", "from support.apps.rq_jobs import ok", *lines]))
    name = f"cron-{uuid.uuid4().hex[:6]}"
    env = base_env(**receiver.env(), OTEL_SERVICE_NAME="cron", OTEL_BSP_SCHEDULE_DELAY="100")
    command = [script("opentelemetry-instrument"), script("rq"), "cron", str(schedule)]
    return RealProcess(name, [*command, "--url", server.url()], env=env, log=folder / f"{name}.log")
