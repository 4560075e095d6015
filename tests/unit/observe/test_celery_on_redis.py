"""Looks at a Celery broker in a real Redis: the age stays right while little is read, workers answer late."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe import celery_inquiry, redis_celery
from otel_taskqueue.observe.celery_app import connect, make_up
from otel_taskqueue.observe.celery_inquiry import Inquiry
from otel_taskqueue.observe.redis_batch import Batch
from otel_taskqueue.observe.redis_celery import CeleryOnRedis
from otel_taskqueue.observe.redis_reserved import Reserved
from otel_taskqueue.observe.target import Tls, parse
from support.servers import RedisServer

NOW = 1_700_000_000.0


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The Redis."""
    with redis.Redis.from_url(redis_server.url()) as made:
        yield made


@pytest.fixture
def name() -> str:
    """A name of this test alone."""
    return uuid.uuid4().hex


def message(sent: float) -> str:
    """A message that can be taken so many seconds from now."""
    headers = {"id": uuid.uuid4().hex, "eta": None, semconv.ENQUEUED_AT: str(int((NOW + sent) * 1e9))}
    return json.dumps({"body": "", "headers": headers, "properties": {}})


def look(source: CeleryOnRedis, now: float = NOW) -> tuple[float, int]:
    """The age that one look finds, and what it cost."""
    seen = source.read(now)
    return next(r.value for r in seen.readings if r.metric is meters.QUEUE_OLDEST_AGE), seen.commands


def test_what_lies_behind_the_oldest_message_is_read_once_while_that_one_stays(
    client: redis.Redis, name: str
) -> None:
    """Also when younger ones come; when it is taken, or more of the list can be seen, it is read again."""
    source = CeleryOnRedis(client, {name: [name]}, Reserved(f"{name}:unacked", "%s", ",", [name], {}))
    client.lpush(name, message(600), message(-30), message(-90))
    assert look(source) == (90, 4)  # HLEN, LLEN, LINDEX, LRANGE
    assert look(source, NOW + 5) == (95, 3)
    client.lpush(name, message(0))
    assert look(source, NOW + 7) == (97, 3)
    client.rpop(name)
    assert look(source, NOW + 8) == (38, 3)
    client.rpush(name, message(700))
    assert look(source, NOW + 9) == (99, 4)
    client.lpush(name, *[message(0)] * redis_celery._DEPTH)
    assert look(source, NOW + 9) == (99, 3)
    client.delete(name)
    assert look(source, NOW + 10) == (0, 2)


def test_reserved_jobs_come_and_go(client: redis.Redis, name: str) -> None:
    """None, some for two looks, none again."""
    reserved = Reserved(f"{name}:unacked", "%s", ",", [name], {})

    def count() -> tuple[int, int]:
        batch = Batch(client)
        return reserved.by_queue(batch)[name], batch.commands

    assert count() == (0, 1)
    client.hset(f"{name}:unacked", mapping={"a": f'[{{}}, "", "{name}"]', "b": f'[{{}}, "", "{name}"]'})
    assert count() == (2, 4)
    assert count() == (2, 3)
    client.delete(f"{name}:unacked")
    assert count() == (0, 3)  # one fewer in truth: the script finds nothing to read
    assert count() == (0, 1)


def answer(ticket: str, worker: str, queue: str) -> str:
    """What a worker puts into the list."""
    told = json.dumps({worker: [{"name": queue}]})
    head = {"content-type": "application/json", "content-encoding": "utf-8", "headers": {"ticket": ticket}}
    return json.dumps({"body": told, **head, "properties": {"delivery_tag": uuid.uuid4().hex}})


@pytest.mark.parametrize("lpop", ["with a count", "without"])
def test_answers_to_the_leaders_own_questions_count_whenever_they_come(
    lpop: str, redis_server: RedisServer, client: redis.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands, four before Redis 6.2; the answers to others, and nonsense, are thrown away."""
    monkeypatch.setattr(celery_inquiry, "_PATIENCE", 0.0)
    target = parse(redis_server.url(), Tls())
    app = make_up(target)
    with connect(app, target) as connection:
        inquiry = Inquiry(app, connection.default_channel, name)
        key = f"otel-taskqueue.{name}.reply.celery.pidbox"
        client.lpush(key, answer(inquiry._ticket, "w1", "old"), answer(inquiry._ticket, "w1", "mail"))
        client.lpush(key, answer("another", "w2", "mail"), "nonsense", answer(inquiry._ticket, "w3", "post"))
        batch = Batch(client) if lpop == "with a count" else OldBatch(client)
        assert {"w1": {"mail"}, "w3": {"post"}} == inquiry.ask(batch, None)
        assert batch.commands == (2 if lpop == "with a count" else 4)
        assert not client.exists(key)
        assert {} == inquiry.ask(batch, ["w1"])


class OldBatch(Batch):
    """Of a Redis before 6.2."""

    def run(self, commands: Any) -> list[Any]:
        """Refuses what that one does not know."""
        if commands and commands[0][0] == "LPOP":
            self.commands += 1
            raise redis.ResponseError("wrong number of arguments for 'lpop' command")
        return super().run(commands)
