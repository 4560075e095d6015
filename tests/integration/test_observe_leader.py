"""Any number of observers, exactly one leader: killed, frozen, stopped, its broker restarted; its price."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from otel_taskqueue import meters
from support import observer
from support.otlp import Receiver
from support.process import RealProcess
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("observe-leader")
TAKEOVER_SECONDS = 10.0


class Observers:
    """Some instances, which look as often as the command allows: each second."""

    def __init__(self, folder: Path, broker: RedisServer, receiver: Receiver) -> None:
        self.receiver = receiver
        self._folder, self._broker = folder, broker
        self.all: dict[str, RealProcess] = {}

    def start(self, name: str, variable: str = "REDIS_URL") -> RealProcess:
        """Start one more; the variable says whether RQ is observed, or Celery."""
        env = {variable: self._broker.url(), **self.receiver.env()}
        process = observer.start(self._folder, "--queue", "mail", "--interval", "1", name=name, **env)
        self.all[name] = process
        return process

    def leader(self) -> str:
        """Who has reported last."""
        return observer.reporters(self.receiver)[-1][1]

    def wait_for_leader_other_than(self, *names: str, timeout: float = 20.0) -> str:
        """The next one who reports."""
        wait_for(
            lambda: {who for _, who in observer.reporters(self.receiver)} - set(names),
            timeout,
            f"a leader that is not {names}",
            lambda: [process.tail() for process in self.all.values()],
        )
        return self.leader()

    def wait_for_reports(self, count: int, timeout: float = 20.0) -> None:
        """So many more looks were exported."""
        before = len(observer.reporters(self.receiver))
        wait_for(lambda: len(observer.reporters(self.receiver)) >= before + count, timeout, "reports")


@pytest.fixture
def observers(empty_redis: RedisServer, receiver: Receiver, tmp_path: Path) -> Iterator[Observers]:
    """None at first; all that were started end with the test."""
    made = Observers(tmp_path, empty_redis, receiver)
    yield made
    for process in made.all.values():
        process.kill()


def assert_never_two(receiver: Receiver) -> None:
    """Each leader reports in one piece: nobody reports again after another has begun."""
    order = [who for _, who in sorted(observer.reporters(receiver))]
    turns = [who for place, who in enumerate(order) if place == 0 or order[place - 1] != who]
    assert len(turns) == len(set(turns)), turns
    times = [when for when, _ in observer.reporters(receiver)]
    assert times == sorted(times)
    series = [
        (point.time, point.name, tuple(sorted(point.attributes.items()))) for point in receiver.metrics()
    ]
    assert len(series) == len(set(series))


def identities(receiver: Receiver) -> set[str]:
    """What a backend tells instances apart by."""
    return {str(point.resource.attributes["service.instance.id"]) for point in receiver.metrics()}


def test_of_three_only_one_exports(observers: Observers, receiver: Receiver) -> None:
    """The others wait and say so."""
    for name in ("a", "b", "c"):
        observers.start(name)
    first = observers.wait_for_leader_other_than()
    for name in {"a", "b", "c"} - {first}:
        observers.all[name].wait_for_line("another instance leads")
    observers.wait_for_reports(3)
    assert {first} == {who for _, who in observer.reporters(receiver)}


def test_a_killed_leader_is_followed_within_ten_seconds(observers: Observers, receiver: Receiver) -> None:
    """kill -9: the next one goes on with the same series, and no look was reported twice."""
    observers.start("a")
    observers.wait_for_leader_other_than()
    observers.start("b").wait_for_line("another instance leads")
    observers.wait_for_reports(1)
    killed = time.time()
    observers.all["a"].kill()
    observers.wait_for_leader_other_than("a")
    first_of_b = min(when for when, who in observer.reporters(receiver) if who == "b") / 1e9
    assert 0 < first_of_b - killed < TAKEOVER_SECONDS
    assert_never_two(receiver)
    assert len(identities(receiver)) == 1


def test_a_leader_that_was_frozen_says_nothing_any_more(
    observers: Observers, empty_redis: RedisServer, receiver: Receiver
) -> None:
    """SIGSTOP until another leads, then SIGCONT: it must not report as if no time had passed.

    Redis answers its look and, for a while, not its question whether it still leads.
    """
    frozen = observers.start("a", "CELERY_BROKER_URL")
    observers.wait_for_leader_other_than()
    observers.start("b", "CELERY_BROKER_URL").wait_for_line("another instance leads")
    observers.wait_for_reports(1)
    frozen.send_signal(signal.SIGSTOP)
    observers.wait_for_leader_other_than("a")
    with redis.Redis.from_url(empty_redis.url()) as client:
        client.execute_command("CLIENT", "PAUSE", 1500, "WRITE")
    frozen.send_signal(signal.SIGCONT)
    frozen.wait_for_line("no longer leads")
    frozen.wait_for_line("another instance leads")
    observers.wait_for_reports(4)
    assert observers.leader() == "b"
    assert_never_two(receiver)


def test_a_leader_that_is_stopped_gives_up_at_once(
    observers: Observers, empty_redis: RedisServer, receiver: Receiver
) -> None:
    """SIGTERM ends it within two seconds with status 0; the next one need not wait for the lock to expire."""
    observers.start("a")
    observers.wait_for_leader_other_than()
    observers.start("b").wait_for_line("another instance leads")
    lock = "otel-taskqueue:observe:rq"
    with redis.Redis.from_url(empty_redis.url()) as client:
        held = client.get(lock)
        stopped = observers.all["a"].stop(signal.SIGTERM)
        assert held is not None
        assert held != client.get(lock)
    assert (stopped.returncode, stopped.killed) == (0, False)
    assert stopped.seconds < 2, observers.all["a"].tail()
    end = time.time()
    observers.wait_for_leader_other_than("a")
    assert time.time() - end < 6
    assert_never_two(receiver)


def test_a_dead_collector_does_not_delay_the_stop(empty_redis: RedisServer, tmp_path: Path) -> None:
    """SIGINT while an export hangs."""
    arguments = ["--rq", "--queue", "mail", "--interval", "1"]
    refused = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    process = observer.start(tmp_path, *arguments, REDIS_URL=empty_redis.url(), **refused)
    process.wait_for_line("this instance leads")
    process.wait_for_line("(?i)export")  # the SDK tells of its first failure
    stopped = process.stop(signal.SIGINT)
    assert (stopped.returncode, stopped.killed) == (0, False)
    assert stopped.seconds < 3, process.tail()


def test_the_broker_away_is_one_line_and_no_gauges(
    observers: Observers, own_redis: RedisServer, receiver: Receiver
) -> None:
    """A restarted Redis: one line, silence, one line, and the gauges again; nobody leads twice."""
    observers.start("a")
    observers.wait_for_leader_other_than()
    observers.start("b").wait_for_line("another instance leads")
    own_redis.stop()
    away = time.time_ns()
    for process in observers.all.values():
        process.wait_for_line("does not answer")
        assert own_redis.password not in process.output()
    first = observers.leader()
    observers.all[first].wait_for_line("no longer leads")
    quiet = len(observer.reporters(receiver))
    wait_for(lambda: time.time_ns() - away > 8e9, 10, "eight seconds without a broker")
    assert quiet == len(observer.reporters(receiver))
    own_redis.start_again()
    observers.wait_for_reports(3, timeout=40.0)
    for name, process in observers.all.items():
        assert process.output().count("does not answer") == 1, (name, process.output())
        process.wait_for_line("answers again")
    assert_never_two_at_once(receiver)


def assert_never_two_at_once(receiver: Receiver) -> None:
    """Looks are a second apart, whoever made them: two leaders would make them closer."""
    times = sorted({when for when, _ in observer.reporters(receiver)})
    gaps = [(after - before) / 1e9 for before, after in itertools.pairwise(times)]
    assert min(gaps) > 0.5, gaps


def test_a_queue_that_is_gone_is_no_longer_exported(
    empty_redis: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """Its series vanish with the next look; the others stay."""
    from rq import Queue

    with redis.Redis.from_url(empty_redis.url()) as client:
        for name in ("mail", "post"):
            Queue(name, connection=client).enqueue("time.time")
        with observer.start(
            tmp_path, "--rq", "--interval", "1", REDIS_URL=empty_redis.url(), **receiver.env()
        ):
            observer.wait_for_board(receiver, lambda board: board.sizes("post"), "both queues")
            Queue("post", connection=client).delete()
            board = observer.wait_for_board(receiver, lambda board: not board.sizes("post"), "one queue")
    assert board.sizes("mail")["ready"] == 1
    assert meters.QUEUE_SIZE.name in {point.name for point in board.points}
