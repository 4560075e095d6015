"""What the observer says of Celery queues on Redis, against what was put there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import observer
from support.otlp import Receiver
from support.process import RealProcess
from support.servers import RedisServer

pytestmark = pytest.mark.xdist_group("observe-celery")


@pytest.fixture
def observed(empty_redis: RedisServer, receiver: Receiver, tmp_path: Path) -> Iterator[RealProcess]:
    """An observer of the queues mail and post, which looks each second."""
    process = observer.start(
        tmp_path,
        "--queue",
        "mail,post",
        "--interval",
        "1",
        CELERY_BROKER_URL=empty_redis.url(),
        **receiver.env(),
    )
    yield process
    process.stop()


def test_ready_jobs_of_all_priorities_are_counted_and_the_oldest_gives_the_age(
    empty_redis: RedisServer, observed: RealProcess, receiver: Receiver
) -> None:
    """Ten jobs on four priority steps are ten; the empty queue is 0, not absent."""
    orders = [{"queue": "mail", "priority": priority, "times": 2} for priority in (0, 3, 5, 6, 9)]
    observer.enqueue(empty_redis.url(), *orders)
    board = observer.wait_for_board(receiver, lambda board: (board.age("mail") or 0) > 3, "jobs that wait")
    assert {"ready": 10, "reserved": 0} == board.sizes("mail")
    assert {"ready": 0, "reserved": 0} == board.sizes("post")
    assert 3 < (board.age("mail") or 0) < 30
    assert board.age("post") == 0
    assert board.workers("mail") == 0
    assert observed.is_running()


def test_a_job_whose_time_has_not_come_is_not_the_oldest(
    empty_redis: RedisServer, observed: RealProcess, receiver: Receiver
) -> None:
    """An ETA of later lies at the end of the list: the job behind it counts, from its ETA on."""
    observer.enqueue(
        empty_redis.url(),
        {"queue": "mail", "countdown": 600, "times": 3},
        {"queue": "mail", "countdown": -100},
        {"queue": "post", "countdown": 600, "times": 2},
    )
    board = observer.wait_for_board(receiver, lambda board: board.sizes("post").get("ready") == 2, "jobs")
    assert 0 <= (board.age("mail") or 0) < 60, board
    assert (board.age("mail") or 0) > 0, board
    assert board.age("post") == 0
    assert observed.is_running()


def test_without_our_time_in_the_message_the_age_is_absent(
    empty_redis: RedisServer, observed: RealProcess, receiver: Receiver
) -> None:
    """A producer that is not instrumented says nothing: absent, never zero."""
    observer.enqueue(empty_redis.url(), {"queue": "mail", "times": 2, "bare": True})
    board = observer.wait_for_board(receiver, lambda board: board.sizes("mail").get("ready") == 2, "jobs")
    assert board.age("mail") is None
    assert board.age("post") == 0
    assert observed.is_running()


def test_reserved_jobs_and_workers_belong_to_their_queue(
    empty_redis: RedisServer, observed: RealProcess, receiver: Receiver, tmp_path: Path
) -> None:
    """Three held jobs of two queues; two workers, one of which consumes both."""
    go = tmp_path / "go"
    with (
        observer.worker(tmp_path, empty_redis.url(), "-Q", "mail,post", "-c", "2", name="both@test"),
        observer.worker(tmp_path, empty_redis.url(), "-Q", "mail", "-c", "1", name="mail@test"),
    ):
        held = {"args": [str(go)]}
        observer.enqueue(
            empty_redis.url(), {"queue": "post", **held, "times": 2}, {"queue": "mail", **held, "times": 2}
        )
        board = observer.wait_for_board(
            receiver,
            lambda board: (
                board.sizes("post") == {"ready": 0, "reserved": 2}
                and board.sizes("mail").get("reserved", 0) >= 1
                and board.workers("mail") == 2
                and board.workers("post") == 1
                and board.heartbeats().keys() == {"both@test", "mail@test"}
            ),
            "reserved jobs and workers",
        )
        assert all(age < 20 for age in board.heartbeats().values())
        go.touch()
        observer.wait_for_board(
            receiver, lambda board: board.sizes("mail") == {"ready": 0, "reserved": 0}, "all acknowledged"
        )
    assert observed.is_running()


def test_a_worker_that_stops_vanishes_and_one_that_is_killed_grows_old(
    empty_redis: RedisServer, observed: RealProcess, receiver: Receiver, tmp_path: Path
) -> None:
    """The clean stop ends its series; the killed one's age grows, so that somebody can be told."""
    stopped = observer.worker(tmp_path, empty_redis.url(), "-P", "solo", name="stopped@test")
    killed = observer.worker(tmp_path, empty_redis.url(), "-P", "solo", name="killed@test")
    observer.wait_for_board(receiver, lambda board: len(board.heartbeats()) == 2, "two workers")
    stopped.stop()
    killed.kill()
    board = observer.wait_for_board(
        receiver, lambda board: board.heartbeats().get("killed@test", 0) > 4, "an age that grows"
    )
    assert ["killed@test"] == list(board.heartbeats())
    assert observed.is_running()


def test_keys_with_a_prefix_and_other_priority_steps_are_the_applications(
    empty_redis: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """`--app` brings the queue names, and the transport options that change the keys."""
    conf = {"broker_transport_options": {"global_keyprefix": "shop:", "priority_steps": [0, 5], "sep": ":"}}
    env = {"TASKQUEUE_TEST_BROKER": empty_redis.url(), "TASKQUEUE_TEST_CONF": json.dumps(conf)}
    arguments = ["--app", "support.apps.observed:app", "--interval", "1"]
    with observer.start(tmp_path, *arguments, **env, **receiver.env()):
        observer.enqueue(
            empty_redis.url(), {"queue": "mail"}, {"queue": "mail", "priority": 7, "times": 2}, conf=conf
        )
        observer.wait_for_board(receiver, lambda board: board.sizes("mail").get("ready") == 3, "three jobs")
        with observer.worker(tmp_path, empty_redis.url(), "-Q", "mail", "-P", "solo", conf=conf):
            observer.wait_for_board(receiver, lambda board: board.workers("mail") == 1, "a worker's answer")
