"""What the observer says of RQ's queues and workers, against what was put there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from support import observer
from support.env import base_env, script
from support.otlp import Receiver
from support.process import RealProcess
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("observe-rq")
JOBS = "support.apps.observed"


@pytest.fixture
def client(empty_redis: RedisServer) -> Iterator[redis.Redis]:
    """A connection of the test's own."""
    with redis.Redis.from_url(empty_redis.url()) as made:
        yield made


@pytest.fixture
def observed(empty_redis: RedisServer, receiver: Receiver, tmp_path: Path) -> Iterator[RealProcess]:
    """An observer of all queues, which looks each second."""
    process = observer.start(tmp_path, "--interval", "1", REDIS_URL=empty_redis.url(), **receiver.env())
    yield process
    process.stop()


def start_worker(folder: Path, server: RedisServer, name: str, *queues: str) -> RealProcess:
    """An RQ worker without a scheduler."""
    argv = [script("rq"), "worker", "--url", server.url(), "--name", name, *queues]
    process = RealProcess(name, argv, env=base_env(), log=folder / f"{name}.log")
    process.wait_for_line("Listening on")
    return process


def test_jobs_are_counted_by_state(
    empty_redis: RedisServer, client: redis.Redis, observed: RealProcess, receiver: Receiver, tmp_path: Path
) -> None:
    """Ready, started, scheduled, deferred and failed jobs of two queues, and who listens to them."""
    from rq import Queue

    go = tmp_path / "go"
    mail, post = Queue("mail", connection=client), Queue("post", connection=client)
    with start_worker(tmp_path, empty_redis, "w1", "post"):
        post.enqueue(f"{JOBS}.fail")
        post.enqueue(f"{JOBS}.fail")
        held = post.enqueue(f"{JOBS}.until", str(go))
        post.enqueue(f"{JOBS}.until", str(go))
        for _ in range(3):
            mail.enqueue(f"{JOBS}.until", str(go), depends_on=held)
        for _ in range(4):
            mail.enqueue_in(timedelta(hours=1), f"{JOBS}.until", str(go))
        for _ in range(5):
            mail.enqueue(f"{JOBS}.until", str(go))
        board = observer.wait_for_board(
            receiver,
            lambda board: board.sizes("post").get("failed") == 2 and board.sizes("post")["reserved"] == 1,
            "a started job",
        )
        assert {"ready": 1, "reserved": 1, "scheduled": 0, "deferred": 0, "failed": 2} == board.sizes("post")
        board = observer.wait_for_board(
            receiver, lambda board: board.sizes("mail").get("ready") == 5, "jobs that wait"
        )
        assert {"ready": 5, "reserved": 0, "scheduled": 4, "deferred": 3, "failed": 0} == board.sizes("mail")
        assert board.workers("post") == 1
        assert board.workers("mail") == 0
        assert {"w1"} == board.heartbeats().keys()
        go.touch()
    observer.wait_for_board(receiver, lambda board: not board.heartbeats(), "no worker after a clean stop")
    assert observed.is_running()


def test_the_age_is_that_of_the_oldest_job_not_of_the_one_in_front(
    client: redis.Redis, observed: RealProcess, receiver: Receiver
) -> None:
    """`at_front` puts younger jobs before the one that waits longest; a deleted job counts for none."""
    from rq import Queue

    mail, empty = Queue("mail", connection=client), Queue("empty", connection=client)
    gone = mail.enqueue("time.time")
    mail.enqueue("time.time")
    client.delete(gone.key)
    empty.enqueue("time.time").delete()
    oldest = mail.enqueue("time.time")
    wait_for(lambda: (observer.latest(receiver).age("mail") or 0) > 4, 20, "a job that waits")
    for _ in range(3):
        mail.enqueue("time.time", at_front=True)
    board = observer.wait_for_board(receiver, lambda board: board.sizes("mail").get("ready") == 6, "all")
    assert 4 < (board.age("mail") or 0) < 30
    assert board.age("empty") == 0
    assert oldest.enqueued_at is not None
    assert observed.is_running()


def test_a_killed_worker_grows_old_until_it_is_forgotten(
    empty_redis: RedisServer, client: redis.Redis, observed: RealProcess, receiver: Receiver, tmp_path: Path
) -> None:
    """Also after its hash has expired and other workers have cleaned it away."""
    worker = start_worker(tmp_path, empty_redis, "killed", "mail")
    observer.wait_for_board(receiver, lambda board: "killed" in board.heartbeats(), "a worker")
    worker.kill()
    client.delete("rq:worker:killed")
    observer.wait_for_board(receiver, lambda board: board.heartbeats().get("killed", 0) > 3, "an age")
    client.srem("rq:workers", "rq:worker:killed")
    before = observer.latest(receiver).heartbeats()["killed"]
    observer.wait_for_board(receiver, lambda board: board.heartbeats().get("killed", 0) > before + 2, "older")
    assert observed.is_running()


def test_a_user_who_may_not_sort_gets_what_it_may_read(
    empty_redis: RedisServer, client: redis.Redis, receiver: Receiver, tmp_path: Path
) -> None:
    """Ages and workers need `SORT ... GET`, which Redis denies without the right to read every key."""
    from rq import Queue

    Queue("mail", connection=client).enqueue("time.time")
    rights = ["on", ">narrow", "+@all", "%R~rq:*", "~otel-taskqueue:*", "&*"]
    client.execute_command("ACL", "SETUSER", "watcher", "reset", *rights)
    url = f"redis://watcher:narrow@127.0.0.1:{empty_redis.port}/0"
    with observer.start(tmp_path, "--rq", "--interval", "1", REDIS_URL=url, **receiver.env()) as process:
        board = observer.wait_for_board(receiver, lambda board: board.sizes("mail"), "what may be read")
        assert board.sizes("mail")["ready"] == 1
        assert board.age("mail") is None
        assert board.workers("mail") is None
        assert "narrow" not in process.output()


def test_once_prints_a_table_and_exports_nothing(
    empty_redis: RedisServer, client: redis.Redis, receiver: Receiver
) -> None:
    """For people: sizes, the age, the workers; also while another instance leads."""
    from rq import Queue

    client.set("otel-taskqueue:observe:rq", "another", px=60_000)
    Queue("mail", connection=client).enqueue("time.time")
    told = observer.once("--once", REDIS_URL=empty_redis.url(), **receiver.env())
    assert told.returncode == 0, told.stderr
    head, line = told.stdout.splitlines()[1:3]
    assert [
        "queue",
        "ready",
        "reserved",
        "scheduled",
        "deferred",
        "failed",
        "oldest",
        "workers",
    ] == head.split()
    assert line.split()[:6] == ["mail", "1", "0", "0", "0", "0"]
    assert receiver.metrics() == []


def test_without_an_exporter_it_prints_a_table_each_interval(
    empty_redis: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    """Nobody said where metrics go."""
    from rq import Queue

    Queue("mail", connection=client).enqueue("time.time")
    with observer.start(tmp_path, "--interval", "1", REDIS_URL=empty_redis.url()) as process:
        wait_for(lambda: process.output().count("mail   1") >= 2, 20, "two tables", process.tail)
        assert json.dumps(empty_redis.password)[1:-1] not in process.output()


def attributes(point: Any) -> set[str]:
    """Keys of a point."""
    return set(point.attributes)


def test_points_carry_what_the_conventions_ask_for_and_no_more(
    client: redis.Redis, observed: RealProcess, receiver: Receiver
) -> None:
    """System, library, queue and state; the resource names the service and one identity."""
    from rq import Queue

    Queue("mail", connection=client).enqueue("time.time")
    board = observer.wait_for_board(receiver, lambda board: board.sizes("mail"), "a queue")
    found = {frozenset(attributes(point)) for point in board.points}
    common = {"messaging.system", "taskqueue.system", "messaging.destination.name"}
    assert {frozenset(common), frozenset({*common, "taskqueue.queue.state"})} == found
    assert {"gauge"} == {point.kind for point in board.points}
    assert {"otel-taskqueue-observer"} == {point.resource.service for point in board.points}
    assert observed.is_running()
