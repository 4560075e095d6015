"""A Celery broker on Redis: ready jobs of all priorities, and how long the oldest has been waiting.

kombu keeps a queue in one list for each priority step (`keys_of`) and takes from the right.
Each look costs one command for each queue and priority, a second one where the list is not empty, and a
third one for at most two priorities where the oldest message is not the one that counts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from otel_taskqueue import semconv
from otel_taskqueue.celery.job import nanoseconds
from otel_taskqueue.core import carrier
from otel_taskqueue.observe.queue_readings import READY, RESERVED, QueueState
from otel_taskqueue.observe.readings import Look
from otel_taskqueue.observe.redis_batch import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_taskqueue.observe.redis_reserved import Reserved

#: Messages from the end of a list among which the oldest that is due and says its age is looked for.
_DEPTH = 10
_DEEPER_LOOKS = 2


class CeleryOnRedis:
    """The lists of some queues; ``keys`` are those of each queue, one for each priority step."""

    def __init__(self, client: Any, keys: Mapping[str, Sequence[str]], reserved: Reserved) -> None:
        self._client = client
        self._keys = keys
        self._reserved = reserved

    def read(self, now: float) -> Look:
        """All queues. Raises what redis-py raises."""
        batch = Batch(self._client)
        reserved = self._reserved.by_queue(batch)
        states = [self._state(batch, queue, now, reserved) for queue in self._keys]
        readings = [reading for state in states for reading in state.readings("redis", semconv.CELERY)]
        return Look(readings, batch.commands)

    def close(self) -> None:
        """The connection belongs to whoever opened it."""

    def _state(self, batch: Batch, queue: str, now: float, reserved: Mapping[str, int]) -> QueueState:
        keys = self._keys[queue]
        lengths = batch.run([("LLEN", key) for key in keys])
        sizes = {RESERVED: reserved[queue]} if queue in reserved else {}
        if None in lengths:  # not allowed
            return QueueState(queue, sizes)
        ages: list[float | None] = [0.0] * len(keys)
        filled = [place for place, length in enumerate(lengths) if length]
        tails = batch.run([("LINDEX", keys[place], -1) for place in filled])
        for place, tail in zip(filled, tails, strict=True):
            if tail is not None:  # None: taken in the meantime
                ages[place] = oldest_age([tail], lengths[place], now)
        self._look_deeper(batch, keys, lengths, ages, now)
        return QueueState(queue, {READY: sum(lengths), **sizes}, _of_queue(ages))

    def _look_deeper(
        self, batch: Batch, keys: Sequence[str], lengths: Sequence[int], ages: list[float | None], now: float
    ) -> None:
        """Where the oldest message is not due, or does not say its age: the ones behind it."""
        places = [place for place, age in enumerate(ages) if age is None and lengths[place] > 1]
        places = places[:_DEEPER_LOOKS]
        answers = batch.run([("LRANGE", keys[place], -_DEPTH, -1) for place in places])
        for place, messages in zip(places, answers, strict=True):
            ages[place] = oldest_age(messages or [], lengths[place], now)


def keys_of(channel: Any, queue: str) -> list[str]:
    """The keys of a queue, as kombu's channel is configured."""
    prefix: str = getattr(channel, "global_keyprefix", "") or ""
    steps = cast("Sequence[int]", channel.priority_steps)
    return [prefix + (f"{queue}{channel.sep}{step}" if step else queue) for step in steps]


def oldest_age(messages: Sequence[bytes | str], length: int, now: float) -> float | None:
    """How long (s) the oldest due job has been waiting; 0.0 when none is due, None when unknown.

    ``messages`` are the oldest of ``length``.
    """
    stamps = [_ready_at(message) for message in messages]
    due = [now - stamp for stamp in stamps if stamp is not None and stamp <= now]
    if due:
        return max(due)
    return 0.0 if None not in stamps and len(stamps) == length else None


def _of_queue(ages: Sequence[float | None]) -> float | None:
    known = max((age for age in ages if age is not None), default=0.0)
    return None if known == 0.0 and None in ages else known


def _ready_at(message: bytes | str) -> float | None:
    """When (unix time, s) a stored message could be taken: sent, and due; None when it does not say."""
    try:
        headers = json.loads(message)["headers"]
        sent = carrier.enqueued_at(headers)
        eta = nanoseconds(headers["eta"]) if headers.get("eta") else 0
    except (ValueError, KeyError, TypeError, AttributeError):  # not Celery's, or not of protocol 2
        return None
    return max(sent, eta) / 1e9 if sent or eta else None
