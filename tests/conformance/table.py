"""ONE table: which scenario runs on which room, pool and broker, and why the others do not.

Breadth: every scenario on Redis with the room's default pool; the same on RabbitMQ; success,
failure and retry on every pool, with green threads on each broker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

from conformance.scenarios import SCENARIOS, Scenario

# The first pool of a room is its default and has a process for each job.
POOLS = {
    "celery": ("prefork", "spawn", "solo", "threads", "gevent", "eventlet"),
    "rq": ("fork", "spawn", "simple", "heroku", "round robin", "worker-pool"),
}
BROKERS = {"celery": ("redis", "rabbitmq"), "rq": ("redis",)}
# What came with a later version of its library.
SINCE = {("celery", "spawn"): (5, 7), ("rq", "spawn"): (2, 2)}
# Their monkey patching meets each broker's client in its own way.
GREEN = {"gevent", "eventlet"}
ISOLATING = {
    ("celery", "prefork"),
    ("celery", "spawn"),
    ("rq", "fork"),
    ("rq", "spawn"),
    ("rq", "heroku"),
    ("rq", "round robin"),
    ("rq", "worker-pool"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """Where scenarios run: one worker is started for each."""

    room: str
    pool: str
    broker: str

    def __str__(self) -> str:
        return f"{self.room}-{self.pool}-{self.broker}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario in one setting; ``reason`` is empty when it runs."""

    scenario: Scenario
    setting: Setting
    reason: str

    def __str__(self) -> str:
        return f"{self.setting}-{self.scenario.name.replace(' ', '_')}"


def settings() -> Iterator[Setting]:
    """Every combination of room, pool and broker in which something runs with the installed libraries."""
    return (setting for setting in _every_setting() if not _too_old(setting.room, _since(setting)))


def _every_setting() -> Iterator[Setting]:
    for room, pools in POOLS.items():
        for pool in pools:
            for broker in BROKERS[room]:
                if broker == "redis" or pool == pools[0] or pool in GREEN:
                    yield Setting(room, pool, broker)


def cells() -> Iterator[Cell]:
    """Every scenario in every setting."""
    for setting in _every_setting():
        for scenario in SCENARIOS:
            yield Cell(scenario, setting, _why_not(scenario, setting))


def installed(library: str) -> tuple[int, ...]:
    """The version of a queue library that the tests run with."""
    return tuple(int(number) for number in re.findall(r"\d+", version(library))[:2])


def _since(setting: Setting) -> tuple[int, ...]:
    return SINCE.get((setting.room, setting.pool), ())


def _too_old(room: str, since: tuple[int, ...]) -> str:
    if installed(room) >= since:
        return ""
    return f"not offered by {room} {version(room)}: came with {'.'.join(map(str, since))}"


def _why_not(scenario: Scenario, setting: Setting) -> str:
    room, pool = setting.room, setting.pool
    if room not in scenario.calls:
        return f"not offered by {room}: {scenario.absent[room]}"
    if too_old := _too_old(room, max(_since(setting), scenario.since.get(room, ()))):
        return too_old
    if scenario.isolated and (room, pool) not in ISOLATING:
        offered = scenario.green.get(pool, "the job has no process of its own")
        return (
            f"not offered by {room} on {pool}: {offered}"
            if isinstance(offered, str)
            else _too_old(room, offered)
        )
    is_default = pool == POOLS[room][0]
    if is_default or scenario.everywhere:
        return ""
    return f"beyond the breadth: runs on the default pool ({POOLS[room][0]})"
