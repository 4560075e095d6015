"""The memory of what was judged, in a real Redis: a leader of an older term writes nothing into it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
import redis

from otel_taskqueue import meters
from otel_taskqueue.core.schedule import INDEX, JUDGED, Run, Schedule, key_of, to_json
from otel_taskqueue.observe.judge import Memory
from otel_taskqueue.observe.redis_batch import Batch
from otel_taskqueue.observe.schedule_memory import ScheduleMemory
from otel_taskqueue.observe.schedules import Schedules
from support.servers import RedisServer

NOON = 1_800_000_000.0
SYSTEM = "test"

Lead = Callable[..., Schedules]


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The Redis, with one schedule that is due each ten seconds and ran last at noon."""
    with redis.Redis.from_url(redis_server.url()) as made:
        schedule = Schedule("tick", "t", interval=10.0, last_run=NOON, next_due=NOON + 10, written_at=NOON)
        made.hset(key_of(SYSTEM, "shop"), "tick", to_json(schedule))
        made.sadd(INDEX, key_of(SYSTEM, "shop"))
        yield made
        made.delete(key_of(SYSTEM, "shop"), INDEX)


@pytest.fixture
def group() -> str:
    """A name of this test alone."""
    return uuid.uuid4().hex


@pytest.fixture
def lead(client: redis.Redis, group: str) -> Lead:
    """Begins a leadership."""

    def begin(leads: Callable[[], bool] | None = lambda: True) -> Schedules:
        return Schedules(client, SYSTEM, group, leads=leads)

    return begin


def missed(source: Schedules, at: float) -> float | None:
    """How many missed runs a look counts; None when it says nothing."""
    found = [r.value for r in source.read(at).readings if r.metric is meters.SCHEDULE_MISSED]
    return found[0] if found else None


def test_the_write_of_an_older_term_is_refused(client: redis.Redis, group: str) -> None:
    """In one step by Redis: what the later leader wrote stays, also before its first own write."""
    batch, first, second = Batch(client), ScheduleMemory(group), ScheduleMemory(group)
    assert ({}, NOON - 86400) == first.begin(batch, NOON)[::-1]
    assert first.write(batch, NOON, NOON, {"a": Memory((NOON + 1,), NOON)})
    assert (NOON, {"a": Memory((NOON + 1,), NOON)}) == second.begin(batch, NOON)
    assert not first.write(batch, NOON, NOON + 9, {"a": Memory()})
    assert (NOON, {"a": Memory((NOON + 1,), NOON)}) == second.read(batch, NOON)
    assert second.write(batch, NOON, NOON + 5, {"b": Memory()})
    assert not first.write(batch, NOON, NOON + 9, {"a": Memory()})
    assert (NOON + 5, {"b": Memory()}) == ScheduleMemory(group).begin(batch, NOON)


def test_a_leader_that_thaws_in_mid_look_does_not_make_the_third_count_twice(lead: Lead) -> None:
    """Its look began before the second one led; the second dies right after its own."""
    first = lead()
    assert missed(first, NOON + 5) == 0
    assert missed(first, NOON + 25) == 0
    second = lead()
    assert missed(second, NOON + 145) == 8
    assert missed(first, NOON + 30) is None
    assert missed(lead(), NOON + 146) == 0


def test_a_leader_that_thaws_before_its_first_look_leaves_everything_to_the_next(lead: Lead) -> None:
    """It begins a term, and leads no longer; the one that leads begins another, and nothing is lost."""
    leader = lead()
    assert missed(leader, NOON + 75) == 0
    assert missed(leader, NOON + 85) == 1
    assert missed(lead(lambda: False), NOON + 80) is None
    assert missed(leader, NOON + 105) is None
    assert missed(leader, NOON + 106) == 2
    assert missed(lead(), NOON + 107) == 0


def test_a_single_look_begins_no_term(lead: Lead, client: redis.Redis, group: str) -> None:
    """It reads what the leader keeps, and disturbs nobody."""
    assert missed(lead(None), NOON + 85) == 0
    assert not client.exists(JUDGED + group)
    leader = lead()
    missed(leader, NOON + 5)
    assert missed(lead(None), NOON + 85) == 2
    assert missed(leader, NOON + 85) == 2


def test_what_does_not_change_is_not_written(lead: Lead, client: redis.Redis, group: str) -> None:
    """A look at one quiet scheduler costs two commands, as does one in which it has run."""
    leader = lead()
    missed(leader, NOON + 1)
    missed(leader, NOON + 2)
    before = client.xinfo_stream(JUDGED + group)["last-generated-id"]
    assert leader.read(NOON + 3).commands == 2
    assert before == client.xinfo_stream(JUDGED + group)["last-generated-id"]
    assert 80_000 < client.ttl(JUDGED + group) <= 86_400
    for second in (11, 21):
        run = Run(NOON + second - 1, NOON + second - 1)
        schedule = Schedule("tick", "t", interval=10.0, last_run=run.ran, next_due=run.due + 10, runs=(run,))
        client.hset(key_of(SYSTEM, "shop"), "tick", to_json(schedule._replace(written_at=run.ran)))
        cost = leader.read(NOON + second).commands
    assert cost == 2
