"""RQ's cron tells when its jobs ran; the observer says what cron and RQ's scheduler have missed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.registry import ScheduledJobRegistry

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.rq_scheduler import RQSchedulers
from support.apps.rq_jobs import ok
from support.env import base_env, script
from support.otlp import Receiver
from support.process import RealProcess
from support.rq_lab import since
from support.scheduling import Looks, client_of, cron, told, wait_for_run
from support.servers import RedisServer
from support.wait import wait_for

TASK = "support.apps.rq_jobs.ok"
SCHEDULED = "rq-scheduler:ticks"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    """An empty Redis."""
    with client_of(redis_server) as found:
        yield found


def key(folder: Path) -> str:
    """By its file, as its name changes with each start."""
    return f"rq:{folder / 'schedule.py'}"[:258]


@since(2, 6)
def test_cron_tells_its_jobs_and_their_last_runs(
    client: Any, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """The time is that of the `send` span; several jobs of one function are told apart."""
    process = cron(tmp_path, receiver, redis_server, "interval=1", "cron='30 4 * * *'")
    with process:
        tick = wait_for_run(client, key(tmp_path), TASK, process, after=time.time() + 1)
        night = told(client, key(tmp_path))[f"{TASK}#2"]
        sent = receiver.wait_for_spans(lambda span: span.kind == "PRODUCER", 2)
    assert (tick.task, tick.interval, tick.crontab) == (TASK, 1.0, None)
    assert any(abs((tick.last_run or 0.0) - span.start / 1e9) < 0.3 for span in receiver.spans()), sent
    assert tick.next_due == pytest.approx((tick.last_run or 0.0) + 1, abs=0.01)
    assert (night.crontab, night.timezone, night.last_run) == ("30 4 * * *", "UTC", None)
    assert datetime.fromtimestamp(night.next_due or 0, timezone.utc).strftime("%H:%M:%S") == "04:30:00"
    assert {span.kind for span in receiver.spans()} == {"PRODUCER"}
    assert "otel_taskqueue" not in process.output()


@since(2, 6)
def test_the_runs_of_a_cron_that_was_killed_are_missed(
    client: Any, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """Its last run stands still, and is known after a restart, although RQ itself has forgotten it."""
    looks = Looks(client, "rq")
    process = cron(tmp_path, receiver, redis_server, "interval=1", "interval=3600")
    with process:
        wait_for_run(client, key(tmp_path), TASK, process)
        looks.look()
        wait_for_run(client, key(tmp_path), TASK, process, after=time.time() + 1)
        alive = looks.look().missed[TASK]
        process.kill()
    before = told(client, key(tmp_path))
    last = before[TASK].last_run or 0.0
    wait_for(lambda: looks.look().missed[TASK] >= 2, 15, "missed runs", lambda: looks.missed)
    assert abs(looks.missed[TASK] - math.floor(time.time() - 1.0 - last)) <= 1
    assert (alive, looks.missed[f"{TASK}#2"], looks.last_runs[TASK]) == (0, 0, last)
    assert max(looks.lags[TASK]) < 0.5
    process = cron(tmp_path, receiver, redis_server, "cron='30 4 * * *'")
    with process:
        wait_for(
            lambda: told(client, key(tmp_path)).keys() == {TASK}, 20, "the other one vanishes", process.tail
        )
    again = told(client, key(tmp_path))[TASK]
    assert (again.last_run, again.crontab) == (last, "30 4 * * *")


class SchedulerLooks:
    """Looks at RQ's scheduler with a short grace."""

    def __init__(self, client: Any) -> None:
        self._source = RQSchedulers(client, lambda _batch: ["ticks", "idle"], grace=1.0)
        self.missed = 0.0
        self.last_run: float | None = None
        self.lag = 0.0
        self.commands = 0

    def look(self) -> SchedulerLooks:
        """Look once; only the queue with a scheduler may be told."""
        seen = self._source.read(time.time())
        self.commands = seen.commands
        self.last_run = None
        for reading in seen.readings:
            assert reading.attributes == {semconv.SYSTEM: "rq", semconv.SCHEDULE_NAME: SCHEDULED}
            if reading.metric is meters.SCHEDULE_MISSED:
                self.missed += reading.value
            elif reading.metric is meters.SCHEDULE_LAST_RUN:
                self.last_run = reading.value
            else:
                self.lag = reading.value
        return self


def test_a_scheduler_that_was_killed_misses_what_comes_due(
    client: Any, redis_server: RedisServer, tmp_path: Path
) -> None:
    """While it lives its heartbeat is young and nothing is late; then its jobs stay where they are."""
    looks = SchedulerLooks(client)
    assert looks.look().last_run is None
    command = [script("rq"), "worker", "--with-scheduler", "--url", redis_server.url(), "ticks"]
    with RealProcess("worker", command, env=base_env(), log=tmp_path / "worker.log") as worker:
        wait_for(lambda: looks.look().last_run, 30, "a heartbeat", worker.tail)
        assert abs(time.time() - (looks.last_run or 0.0)) < 5
        queue = Queue("ticks", connection=client)
        soon = queue.enqueue_in(timedelta(seconds=1), ok)
        wait_for(lambda: soon.get_status() not in {None, "scheduled"}, 20, "it is moved", worker.tail)
        assert (looks.look().missed, looks.lag) == (0, 0.0)
        worker.kill()
    died = time.time()
    late = [queue.enqueue_in(timedelta(seconds=1), ok).id for _ in range(2)]
    assert set(late) <= set(ScheduledJobRegistry(queue=queue).get_job_ids())
    wait_for(lambda: looks.look().missed, 15, "missed jobs")
    for _ in range(3):
        looks.look()
    assert looks.missed == 2
    assert looks.lag > 0.5
    assert (looks.last_run or 0.0) < died + 1
    assert looks.commands <= 2 * 5
