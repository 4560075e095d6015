"""What an observer costs its broker: every command it sent, as Redis tells them one by one."""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from support import observer
from support.env import base_env, script
from support.otlp import Receiver
from support.process import RealProcess
from support.scheduling import beat, cron, wait_for_run
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("observe-cost")

MOST = 20
USER = "watcher"


class Spending:
    """The commands of one Redis user's connections, also those which its scripts give."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._all: list[tuple[str, str]] = []
        self._others: set[str] = set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear all commands from here on."""
        with self._client.monitor() as monitor:
            threading.Thread(target=self._listen, args=[monitor], daemon=True).start()
            yield
            self._remember_others()

    def looks(self, first: str) -> list[Counter[str]]:
        """What was sent between two times that this command, which each look gives once, was given."""
        self._remember_others()
        commands = [command for who, command in list(self._all) if who not in self._others]
        starts = [place for place, command in enumerate(commands) if re.match(first, command)]
        looks = [commands[start:end] for start, end in itertools.pairwise(starts)]
        return [Counter(command.split(" ", 1)[0].upper() for command in look) for look in looks]

    def _remember_others(self) -> None:
        """A connection that nobody knows counts as the observer's."""
        found: Any = self._client.client_list()
        self._others |= {each["addr"] for each in found if each["user"] != USER}

    def _listen(self, monitor: Any) -> None:
        who = ""
        try:
            for heard in monitor.listen():
                if heard["client_type"] != "lua":  # what a script gives follows its own line
                    who = f"{heard['client_address']}:{heard['client_port']}"
                self._all.append((who, heard["command"]))
        except (OSError, ValueError, redis.RedisError):  # the end of the test
            return


@pytest.fixture
def client(empty_redis: RedisServer) -> Iterator[redis.Redis]:
    """A connection of the test's own, in a Redis which knows the observer by its user."""
    with redis.Redis.from_url(empty_redis.url()) as made:
        made.acl_setuser(
            USER, enabled=True, passwords=["+narrow"], keys=["*"], channels=["*"], commands=["+@all"]
        )
        yield made


@pytest.fixture
def url(empty_redis: RedisServer) -> str:
    """The observer's."""
    return f"redis://{USER}:narrow@127.0.0.1:{empty_redis.port}/0"


def test_a_celery_queue_costs_at_most_twenty_commands_an_interval(
    empty_redis: RedisServer, client: redis.Redis, url: str, receiver: Receiver, tmp_path: Path
) -> None:
    """Jobs of all priorities, reserved ones, a beat that runs, the election, a new worker that is asked."""
    broker, spending = empty_redis.url(), Spending(client)
    observer.enqueue(
        broker,
        # The oldest is not due: one more look at the list of its priority.
        {"queue": "mail", "countdown": 600, "times": 2},
        *({"queue": "mail", "priority": priority, "times": 2} for priority in (0, 3, 6, 9)),
    )
    client.hset("unacked", mapping={"tag": '[{"body": ""}, "", "mail"]'})
    with ExitStack() as stack, Receiver() as elsewhere:
        process = stack.enter_context(beat(tmp_path, elsewhere, broker, {"tick": 2}))
        wait_for_run(client, "celery:shop", "tick", process)
        stack.enter_context(spending.listening())
        env = {"CELERY_BROKER_URL": url, **receiver.env()}
        stack.enter_context(observer.start(tmp_path, "--queue", "mail", **env))
        observer.wait_for_board(receiver, lambda board: board.workers("mail") == 0, "the first look")
        stack.enter_context(observer.worker(tmp_path, broker, "-Q", "post", "-P", "solo", name="new@test"))
        wait_for(
            lambda: any(look["PUBLISH"] for look in looks(spending)[1:]),
            60,
            "a look that asks",
            lambda: looks(spending),
        )
        board = observer.latest(receiver)
        assert {"ready": 10, "reserved": 1} == board.sizes("mail")
        assert ({"new@test"}, 0) == (board.heartbeats().keys(), board.workers("mail"))
    assert all(10 <= look.total() <= MOST for look in looks(spending)[1:]), looks(spending)


def looks(spending: Spending) -> list[Counter[str]]:
    """Of an observer of Celery, told apart by the list of the first priority."""
    return spending.looks("LLEN mail$")


def test_an_rq_queue_costs_at_most_twenty_commands_an_interval(
    empty_redis: RedisServer, client: redis.Redis, url: str, receiver: Receiver, tmp_path: Path
) -> None:
    """Jobs of all states, a worker with a scheduler, a cron that runs, the election."""
    from rq import Queue

    mail, spending = Queue("mail", connection=client), Spending(client)
    with ExitStack() as stack, Receiver() as elsewhere:
        process = stack.enter_context(cron(tmp_path, elsewhere, empty_redis, "interval=2"))
        wait_for(lambda: client.keys("otel-taskqueue:schedule:rq:*"), 30, "a cron", process.tail)
        argv = [
            script("rq"),
            "worker",
            "--url",
            empty_redis.url(),
            "--name",
            "w1",
            "--with-scheduler",
            "mail",
        ]
        worker = stack.enter_context(RealProcess("w1", argv, env=base_env(), log=tmp_path / "w1.log"))
        worker.wait_for_line("Listening on")
        for _ in range(2):
            mail.enqueue("support.apps.observed.until", str(tmp_path / "go"))
        mail.enqueue_in(timedelta(hours=1), "time.time")
        stack.enter_context(spending.listening())
        env = {"RQ_REDIS_URL": url, **receiver.env()}
        stack.enter_context(observer.start(tmp_path, "--rq", "--queue", "mail*", **env))
        wait_for(lambda: len(spending.looks("SORT rq:workers")) > 2, 90, "three looks")
        board = observer.latest(receiver)
        assert ({"w1"}, 1) == (board.heartbeats().keys(), board.workers("mail"))
        assert (1, 1, 1) == tuple(board.sizes("mail")[state] for state in ("ready", "reserved", "scheduled"))
        (tmp_path / "go").touch()
    found = spending.looks("SORT rq:workers")
    assert all(10 <= look.total() <= MOST for look in found[1:]), found
