"""The board on which a scheduler tells about its schedules: a hash in the application's Redis.

A thread of its own writes it. A scheduler that waited for Redis, for a name server or for a lock
would enqueue late, which is the very thing that the board is to tell.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import context

from otel_taskqueue.core import quiet
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.schedule import INDEX, MAX_SCHEDULES, Schedule, from_json, seconds_kept, to_json
from otel_taskqueue.core.wire import NoRedisError, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otel_taskqueue.core.wire import Command

    Past = Mapping[str, Schedule]

_logger = logging.getLogger("otel_taskqueue")
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0


class Board:
    """Writes what ``collect`` tells, whenever `post` asks for it; never raises, never waits.

    Args:
        key: Of the hash, see `schedule.key_of`.
        find_pool: Returns the redis-py connection pool of the application; None: it has no Redis.
        collect: Called in the thread with what was on the board before this process wrote;
            returns every schedule that there is now.
    """

    def __init__(
        self, key: str, find_pool: Callable[[], Any], collect: Callable[[Past], Iterable[Schedule]]
    ) -> None:
        self._key = key
        self._wire = Wire(find_pool)
        self._collect = collect
        self._pid = 0
        self._wanted = threading.Event()
        self._absent = False
        self._past: Past | None = None
        self._fields: set[str] = set()
        self._pause = 0.0

    def post(self) -> None:
        """Something has changed. The thread begins with the first call, also after a fork."""
        if self._absent:
            return
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._wanted = threading.Event()
            threading.Thread(target=self._run, name="otel-taskqueue-schedules", daemon=True).start()
        self._wanted.set()

    def _run(self) -> None:
        context.attach(quiet.quieted())
        while not self._absent:
            self._wanted.wait()
            self._wanted.clear()
            with Guarded("schedules"):
                self._write_or_pause()
            if self._pause:
                time.sleep(self._pause)
                self._wanted.set()

    def _write_or_pause(self) -> None:
        past = self._tried(self._read) if self._past is None else self._past
        if past is None:
            return
        schedules = sorted(self._collect(past), key=lambda schedule: schedule.name)[:MAX_SCHEDULES]
        self._tried(lambda: self._write(schedules))

    def _tried(self, work: Callable[[], Past]) -> Past | None:
        """Do it; when that fails, silently wait longer each time."""
        try:
            done = work()
        except NoRedisError:
            self._absent = True
        except Exception as error:  # noqa: BLE001  whatever redis-py, kombu or the network raise
            # Of a Redis that is away the application hears by its own use of it, or it does not care.
            _logger.debug("schedules are not published: %r", error)
            self._pause = min(2 * self._pause or _FIRST_PAUSE, _LONGEST_PAUSE)
        else:
            self._pause = 0.0
            return done
        return None

    def _read(self) -> Past:
        (found,) = self._wire.exchange([("HGETALL", self._key)])
        told = (from_json(value) for value in _values(found))
        self._past = {schedule.name: schedule for schedule in told if schedule is not None}
        self._fields = set(self._past)
        return self._past

    def _write(self, schedules: Sequence[Schedule]) -> Past:
        fields = {schedule.name for schedule in schedules}
        commands = _commands(self._key, schedules, self._fields - fields)
        if commands:
            self._wire.exchange(commands)
        self._fields = fields
        return {}


def _commands(key: str, schedules: Sequence[Schedule], gone: set[str]) -> list[Command]:
    commands: list[Command] = [("HDEL", key, *gone)] if gone else []
    if schedules:
        fields = [part for schedule in schedules for part in (schedule.name, to_json(schedule))]
        commands.append(("HSET", key, *fields))
        commands.append(("EXPIRE", key, seconds_kept(schedules, time.time())))
        commands.append(("SADD", INDEX, key))
    return commands


def _values(answer: Any) -> Iterable[str | bytes]:
    """The values of a HGETALL: RESP3 answers with a map, RESP2 with a flat list."""
    if isinstance(answer, dict):
        return cast("dict[bytes, bytes]", answer).values()
    return cast("list[bytes]", answer)[1::2]
