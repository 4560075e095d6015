"""What a scheduler tells: the JSON, how long it is kept, and the thread that writes it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from otel_taskqueue.core import board as module
from otel_taskqueue.core.board import Board
from otel_taskqueue.core.schedule import (
    HORIZON,
    INDEX,
    MAX_RUNS,
    MAX_SCHEDULES,
    Run,
    Schedule,
    from_json,
    key_of,
    seconds_kept,
    system_of,
    to_json,
)
from support.wait import wait_for

NIGHT = Schedule(
    "night", "shop.night", None, "0 4 * * *", "UTC", 100.5, 200.0, False, (300.0,), (Run(100, 100.5),), 150.0
)


def test_a_schedule_is_read_as_it_was_written() -> None:
    """What is unknown is not written at all."""
    assert NIGHT == from_json(to_json(NIGHT))
    assert Schedule("a", "b") == from_json(to_json(Schedule("a", "b")))
    assert {"name": "a", "task": "b", "written_at": 0.0} == json.loads(to_json(Schedule("a", "b")))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"name":"a"}', '{"name":"a","task":"b","last_run":"x"}']
)
def test_what_is_not_ours_is_passed_over(text: str) -> None:
    """Another version's or another program's fields stop nobody."""
    assert from_json(text) is None


def test_the_last_twenty_runs_are_kept() -> None:
    """What an observer may read in one look is bounded."""
    schedule = NIGHT
    for number in range(50):
        schedule = schedule.ran(number, number + 0.25)
    assert (MAX_RUNS, Run(49.0, 49.25), 49.25) == (len(schedule.runs), schedule.runs[-1], schedule.last_run)


def test_a_hash_is_kept_a_day_longer_than_anything_is_due() -> None:
    """And not for years."""
    assert HORIZON == seconds_kept([Schedule("never", "t")], 1000.0)
    assert HORIZON + 100 == seconds_kept([NIGHT, NIGHT._replace(next_due=None)], 100.0)
    assert seconds_kept([NIGHT._replace(next_due=1e12)], 100.0) == 33 * 86400


def test_a_key_tells_its_library() -> None:
    """Whatever the scheduler is called."""
    assert system_of(key_of("celery", "shop:eu")) == "celery"


class FakeRedis:
    """A connection pool whose connections keep what is sent to them."""

    def __init__(self, stored: Mapping[str, str] | None = None) -> None:
        self.connection_kwargs: dict[str, Any] = {"host": "h", "socket_timeout": None, "retry": object()}
        self.connection_class = self._connect
        self.stored = dict(stored or {})
        self.sent: list[list[tuple[Any, ...]]] = []
        self.made: list[dict[str, Any]] = []
        self.failing = False
        self.threads: set[int] = set()

    def _connect(self, **options: Any) -> FakeRedis:
        self.made.append(options)
        return self

    def pack_commands(self, commands: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return commands

    def send_packed_command(self, commands: list[tuple[Any, ...]]) -> None:
        self.threads.add(threading.get_ident())
        if self.failing:
            raise TimeoutError("no answer")
        self.sent.append(commands)

    def read_response(self) -> Any:
        return [part.encode() for item in self.stored.items() for part in item]

    def disconnect(self) -> None:
        pass


def write(pool: FakeRedis, told: list[list[Schedule]]) -> None:
    """Post once for each list; wait until each has been written."""
    now: list[Schedule] = []
    board = Board("key", lambda: pool, lambda _past: now)
    for number, schedules in enumerate(told):
        now[:] = schedules
        board.post()
        wait_for(lambda number=number: len(pool.sent) >= number + 2, 5, "it is written")


def test_one_connection_with_short_deadlines_is_used_for_all_writes() -> None:
    """Never in the scheduler's own thread, and nothing of the application's patience."""
    pool = FakeRedis()
    write(pool, [[NIGHT], [NIGHT], [NIGHT]])
    (options,) = pool.made
    assert (options["socket_timeout"], options["socket_connect_timeout"], options["retry"]) == (
        0.5,
        0.5,
        None,
    )
    assert len(pool.threads) == 1
    assert threading.get_ident() not in pool.threads


def test_a_write_is_one_exchange_and_what_was_removed_goes_with_it() -> None:
    """All schedules in one HSET; those of an earlier process that are no more are deleted at once."""
    old = NIGHT._replace(name="old")
    pool = FakeRedis({"old": to_json(old), "night": to_json(NIGHT)})
    write(pool, [[NIGHT, NIGHT._replace(name="new")], [NIGHT]])
    assert [[command[0] for command in commands] for commands in pool.sent] == [
        ["HGETALL"],
        ["HDEL", "HSET", "EXPIRE", "SADD"],
        ["HDEL", "HSET", "EXPIRE", "SADD"],
    ]
    assert [commands[0][2:] for commands in pool.sent[1:]] == [("old",), ("new",)]
    assert pool.sent[1][1][2::2] == ("new", "night")
    assert pool.sent[1][3] == ("SADD", INDEX, "key")


def test_what_an_earlier_process_told_is_handed_to_the_next() -> None:
    """So that a restart does not forget the last run."""
    pool = FakeRedis({"night": to_json(NIGHT)})
    seen: list[Schedule] = []
    board = Board("key", lambda: pool, lambda past: seen.extend(past.values()) or [])
    board.post()
    wait_for(lambda: seen, 5, "the past is told")
    assert [NIGHT] == seen


def test_without_a_redis_nothing_is_done_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """The thread ends."""
    asked: list[int] = []
    board = Board("key", lambda: asked.append(1), lambda _past: pytest.fail("nothing to tell"))
    board.post()
    wait_for(lambda: board._absent, 5, "the board is given up")
    board.post()
    assert ([1], []) == (asked, caplog.records)


def test_a_redis_that_is_away_is_tried_again_later_and_nothing_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ran meanwhile is told when it is back."""
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    caplog.set_level(logging.INFO)
    pool = FakeRedis()
    pool.failing = True
    board = Board("key", lambda: pool, lambda _past: [NIGHT])
    board.post()
    wait_for(lambda: len(pool.made) > 3, 5, "it is tried several times")
    pool.failing = False
    wait_for(lambda: len(pool.sent) == 2, 5, "it is written without another post")
    assert [] == caplog.records


def test_of_very_many_schedules_the_first_by_name_are_told() -> None:
    """A table of django-celery-beat may have tens of thousands."""
    pool = FakeRedis()
    write(pool, [[NIGHT._replace(name=f"n{number:05}") for number in reversed(range(MAX_SCHEDULES + 50))]])
    assert pool.sent[1][0][2::2] == tuple(f"n{number:05}" for number in range(MAX_SCHEDULES))
