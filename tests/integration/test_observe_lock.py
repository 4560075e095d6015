"""The leader's lock on a real Redis: one holds it, it expires, and a forgetful server is not trusted."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from otel_taskqueue.observe.election import Held
from otel_taskqueue.observe.redis_lock import RedisLock
from support.servers import RedisServer
from support.wait import wait_for

Make = Callable[[], RedisLock]


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The Redis."""
    with redis.Redis.from_url(redis_server.url()) as made:
        yield made


@pytest.fixture
def key() -> str:
    """A key of this test alone."""
    return f"lock-{uuid.uuid4().hex}"


@pytest.fixture
def make(client: redis.Redis, key: str) -> Make:
    """One more instance that wants the lock."""
    return lambda: RedisLock(lambda: client, key)


def test_one_holds_it_and_the_others_hear_when_to_try_again(
    make: Make, client: redis.Redis, key: str
) -> None:
    """Never later than it expires."""
    first, second = make(), make()
    assert isinstance(first.acquire(), Held)
    pause = second.acquire()
    assert isinstance(pause, float)
    assert 0 < pause <= client.pttl(key) / 1000 + 0.1
    assert first.renew()
    assert not second.renew()


def test_it_is_given_up_by_its_holder_alone(make: Make, client: redis.Redis, key: str) -> None:
    """A release that comes late does not take another's lock."""
    first, second = make(), make()
    first.acquire()
    second.release()
    assert client.exists(key)
    first.release()
    taken = second.acquire()
    assert isinstance(taken, Held)
    assert taken.term == 2
    first.release()
    assert second.renew()


def test_a_lock_that_was_not_renewed_is_the_next_ones(make: Make, client: redis.Redis, key: str) -> None:
    """And the former holder hears of it, also when nobody has taken it."""
    first, second = make(), make()
    first.acquire()
    client.pexpire(key, 1)
    wait_for(lambda: not client.exists(key), 5, "the lock has expired")
    assert not first.renew()
    assert isinstance(second.acquire(), Held)
    assert not first.renew()


def test_a_server_that_may_have_forgotten_a_holder_makes_the_next_one_wait(
    make: Make, client: redis.Redis, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emptied (no leader is remembered) or just started: as long as a lease. Else not at all."""
    lock = make()
    assert Held(1, lock.lease) == lock.acquire()
    lock.release()
    for uptime, silence in ((0, lock.lease + 1), (3, lock.lease - 2), (60, 0.0)):
        monkeypatch.setattr(client, "info", lambda _section, up=uptime: {"uptime_in_seconds": up})
        held = lock.acquire()
        assert isinstance(held, Held)
        assert held.silence == silence
        lock.release()


def test_a_server_older_than_6_2_renews_too(
    make: Make, client: redis.Redis, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no GETEX."""
    first, second = make(), make()
    first.acquire()
    execute = client.execute_command

    def old(*command: Any, **options: Any) -> Any:
        if command[0] == "GETEX":
            raise redis.ResponseError("unknown command `GETEX`, with args beginning with: ...")
        return execute(*command, **options)

    monkeypatch.setattr(client, "execute_command", old)
    client.pexpire(key, 2000)
    assert first.renew()
    assert client.pttl(key) > 2000
    assert not second.renew()
