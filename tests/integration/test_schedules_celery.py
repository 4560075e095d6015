"""Beat tells when its schedules ran; the observer says what was missed; beat notices nothing of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.otlp import Receiver
from support.process import RealProcess
from support.scheduling import Looks, beat, client_of, told, wait_for_run
from support.servers import RabbitServer, RedisServer
from support.wait import wait_for

KEY = "celery:shop"
#: Commands which only we give in a beat process.
OURS = {"HGETALL", "HSET", "HDEL", "EXPIRE"}
FAST = {"tick": 0.5, "night": "30 4"}


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    """An empty Redis."""
    with client_of(redis_server) as found:
        yield found


def sends(receiver: Receiver) -> list[float]:
    """When beat has sent (unix s), in order."""
    return sorted(span.start / 1e9 for span in receiver.spans() if span.kind == "PRODUCER")


def said(process: RealProcess) -> list[str]:
    """Lines that are ours, or about an error."""
    return [line for line in process.output().splitlines() if "otel" in line or "Error" in line]


@pytest.mark.parametrize("embedded", [False, True])
def test_beat_tells_its_schedule_and_its_last_run(
    client: Any, redis_server: RedisServer, receiver: Receiver, tmp_path: Path, *, embedded: bool
) -> None:
    """A process of its own, and one within a worker: the time is that of the `send` span."""
    process = beat(tmp_path, receiver, redis_server.url(), FAST, embedded=embedded)
    with process:
        tick = wait_for_run(client, KEY, "tick", process)
        found = told(client, KEY)["night"]
        wait_for(lambda: len(sends(receiver)) > 1, 15, "its spans")
        process.stop()
    assert (tick.task, tick.interval, tick.crontab) == ("shop.tick", 0.5, None)
    assert any(abs((tick.last_run or 0.0) - sent) < 0.2 for sent in sends(receiver))
    assert abs((tick.next_due or 0.0) - (tick.last_run or 0.0) - 0.5) < 0.3
    assert (found.crontab, found.timezone, found.last_run) == ("30 4 * * *", "Europe/Berlin", None)
    assert found.next_due == next_half_past_four().timestamp()
    assert not OURS & {span.name.partition(" ")[0] for span in receiver.spans()}
    assert [] == said(process)


def next_half_past_four() -> datetime:
    """In Berlin."""
    now = datetime.now(ZoneInfo("Europe/Berlin"))
    today = now.replace(hour=4, minute=30, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def test_with_rabbitmq_it_is_told_in_the_result_backend(
    client: Any, rabbit_server: RabbitServer, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """Where a Redis is, if not the broker."""
    process = beat(tmp_path, receiver, rabbit_server.url(), FAST, backend=redis_server.url())
    with process:
        wait_for_run(client, KEY, "tick", process)
    assert [] == said(process)


def test_without_a_redis_beat_runs_and_says_nothing(
    client: Any, rabbit_server: RabbitServer, receiver: Receiver, tmp_path: Path
) -> None:
    """There is nowhere to tell it."""
    process = beat(tmp_path, receiver, rabbit_server.url(), FAST, backend="rpc://")
    with process:
        wait_for(lambda: len(sends(receiver)) > 3, 30, "its spans", process.tail)
    assert ({}, []) == (told(client, KEY), said(process))


def test_the_setting_switches_it_off(
    client: Any, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """Nothing of ours is written into the application's Redis."""
    env = {"OTEL_PYTHON_TASKQUEUE_SCHEDULES": "false"}
    process = beat(tmp_path, receiver, redis_server.url(), FAST, **env)
    with process:
        wait_for(lambda: len(sends(receiver)) > 3, 30, "its spans", process.tail)
    assert [] == client.keys("otel-taskqueue:*")


def test_a_redis_that_is_frozen_does_not_delay_beat(
    rabbit_server: RabbitServer, receiver: Receiver, tmp_path: Path
) -> None:
    """The result backend stops in the middle, for longer than any deadline; then everything is told."""
    backend = RedisServer(tmp_path)
    schedule = {"tick": 0.25}
    try:
        process = beat(tmp_path, receiver, rabbit_server.url(), schedule, backend=backend.url())
        with process, client_of(backend) as client:
            wait_for_run(client, KEY, "tick", process)
            os.kill(backend.process.pid, signal.SIGSTOP)
            frozen = time.time()
            wait_for(lambda: max(sends(receiver), default=0.0) > frozen + 4, 30, "beat goes on", process.tail)
            os.kill(backend.process.pid, signal.SIGCONT)
            after = wait_for_run(client, KEY, "tick", process, after=time.time())
            times = [at for at in sends(receiver) if at > frozen]
    finally:
        backend.stop()
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) < 0.25 + 0.5, gaps
    assert len(after.runs) == 20
    assert [] == said(process)


def test_the_runs_of_a_beat_that_was_killed_are_missed(
    client: Any, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """Its last run stands still, one more is missed for each due time; its next start ends that."""
    looks = Looks(client, "celery")
    process = beat(tmp_path, receiver, redis_server.url(), FAST)
    with process:
        wait_for_run(client, KEY, "tick", process)
        looks.look()
        wait_for_run(client, KEY, "tick", process, after=time.time() + 1.5)
        alive = looks.look().missed["tick"]
        process.kill()
    last = told(client, KEY)["tick"].last_run or 0.0
    wait_for(lambda: looks.look().missed["tick"] >= 4, 10, "missed runs", lambda: looks.missed)
    judged = int((time.time() - 1.0 - last) / 0.5)
    assert abs(looks.missed["tick"] - judged) <= 1
    assert (alive, looks.missed["night"], looks.last_runs["tick"]) == (0, 0, last)
    assert max(looks.lags["tick"]) < 0.3
    process = beat(tmp_path, receiver, redis_server.url(), FAST)
    with process:
        wait_for_run(client, KEY, "tick", process, after=last)
        missed = looks.look().missed["tick"]
        wait_for_run(client, KEY, "tick", process, after=time.time() + 1.5)
        assert looks.look().missed["tick"] <= missed + 1
        assert looks.last_runs["tick"] > last


def test_each_missed_run_is_counted_once_whoever_leads(
    client: Any, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """A second observer comes 3 s after the end of the first, and counts from where that has judged."""
    first, second = Looks(client, "celery"), Looks(client, "celery")
    process = beat(tmp_path, receiver, redis_server.url(), FAST)
    with process:
        last = wait_for_run(client, KEY, "tick", process).last_run or 0.0
        first.look()
        process.kill()
    wait_for(lambda: first.look().missed["tick"] >= 3, 10, "missed runs", lambda: first.missed)
    ended = time.time()
    wait_for(lambda: time.time() > ended + 3, 5, "nobody observes")
    wait_for(lambda: second.look().missed["tick"] >= 8, 10, "missed runs", lambda: second.missed)
    together = first.missed["tick"] + second.missed["tick"]
    assert abs(together - (time.time() - 1.0 - last) / 0.5) <= 2


def test_a_run_that_could_not_be_sent_is_no_run(
    client: Any, rabbit_server: RabbitServer, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """Beat counts it as run; here the task's name cannot even be routed."""
    env = {"TASKQUEUE_TEST_ROUTE": "fails"}
    process = beat(tmp_path, receiver, rabbit_server.url(), FAST, backend=redis_server.url(), **env)
    with process:
        process.wait_for_line("Message Error")
        wait_for(lambda: "tick" in told(client, KEY), 15, "the schedule is told", process.tail)
        process.wait_for_line("(?s)Message Error.*Message Error")
        assert told(client, KEY)["tick"].last_run is None


def test_an_entry_that_was_removed_vanishes(
    client: Any, redis_server: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """With the next start of beat, at once and for good; what stays keeps its last run."""
    looks = Looks(client, "celery")
    process = beat(tmp_path, receiver, redis_server.url(), {**FAST, "old": 0.5})
    with process:
        wait_for_run(client, KEY, "old", process)
        wait_for_run(client, KEY, "tick", process)
        looks.look()
        process.kill()
    assert {"tick", "old"} == set(looks.last_runs)
    process = beat(tmp_path, receiver, redis_server.url(), {"tick": 3600})
    with process:
        wait_for(lambda: "old" not in told(client, KEY), 20, "it vanishes", process.tail)
    assert {"tick"} == set(looks.look().last_runs)
    assert looks.commands <= 5


def test_an_unknown_key_s_content_stops_nobody(client: Any) -> None:
    """What somebody else put there, and a scheduler whose hash has expired."""
    client.sadd("otel-taskqueue:schedule:index", "otel-taskqueue:schedule:celery:gone")
    client.sadd("otel-taskqueue:schedule:index", "otel-taskqueue:schedule:celery:odd")
    client.hset("otel-taskqueue:schedule:celery:odd", "x", "not json")
    looks = Looks(client, "celery").look()
    assert {} == looks.last_runs
    assert {b"otel-taskqueue:schedule:celery:odd"} == client.smembers("otel-taskqueue:schedule:index")
