"""A Celery broker on Redis: ready jobs of all priorities, and how long the oldest has been waiting.

kombu keeps a queue in one list for each priority step (`keys_of`) and takes from the right.
Each look costs one command for each queue and priority, a second one where the list is not empty, and a
third one for at most two priorities where another message than the oldest counts: once, while that
one stays where it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, cast

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


class _Tail(NamedTuple):
    """The oldest message of a list, and since when (unix time, s) those from it on could be taken."""

    digest: int
    stamps: tuple[float | None, ...]


_NO_TAIL = _Tail(0, ())


class CeleryOnRedis:
    """The lists of some queues; ``keys`` are those of each queue, one for each priority step."""

    def __init__(self, client: Any, keys: Mapping[str, Sequence[str]], reserved: Reserved) -> None:
        self._client = client
        self._keys = keys
        self._reserved = reserved
        self._tails: dict[str, _Tail] = {}

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
        filled = {key: length for key, length in zip(keys, lengths, strict=True) if length}
        ages = self._ages(batch, filled, now)
        return QueueState(queue, {READY: sum(lengths), **sizes}, _of_queue(ages))

    def _ages(self, batch: Batch, filled: Mapping[str, int], now: float) -> list[float | None]:
        """Of the oldest message in each list that was not empty; the lengths are given."""
        tails = batch.run([("LINDEX", key, -1) for key in filled])
        for key, tail in zip(filled, tails, strict=True):
            if tail is None:  # taken in the meantime
                self._tails.pop(key, None)
            elif self._tails.get(key, _NO_TAIL).digest != hash(tail):
                self._tails[key] = _Tail(hash(tail), (ready_at(tail),))
        known = [key for key in filled if key in self._tails]
        self._look_deeper(batch, {key: filled[key] for key in known}, now)
        return [oldest_age(self._tails[key].stamps, filled[key], now) for key in known]

    def _look_deeper(self, batch: Batch, filled: Mapping[str, int], now: float) -> None:
        """Where the oldest message is not due, or does not say its age: the ones behind it."""
        short = [key for key, length in filled.items() if len(self._tails[key].stamps) != min(length, _DEPTH)]
        keys = [key for key in short if oldest_age(self._tails[key].stamps, filled[key], now) is None]
        keys = keys[:_DEEPER_LOOKS]
        answers = batch.run([("LRANGE", key, -_DEPTH, -1) for key in keys])
        for key, messages in zip(keys, answers, strict=True):
            if messages:
                stamps = tuple(ready_at(message) for message in messages)
                self._tails[key] = _Tail(hash(messages[-1]), stamps)


def keys_of(channel: Any, queue: str) -> list[str]:
    """The keys of a queue, as kombu's channel is configured."""
    prefix: str = getattr(channel, "global_keyprefix", "") or ""
    steps = cast("Sequence[int]", channel.priority_steps)
    return [prefix + (f"{queue}{channel.sep}{step}" if step else queue) for step in steps]


def oldest_age(stamps: Sequence[float | None], length: int, now: float) -> float | None:
    """How long (s) the oldest due job has been waiting; 0.0 when none is due, None when unknown.

    ``stamps`` are when the oldest of ``length`` messages could be taken (`ready_at`).
    """
    due = [now - stamp for stamp in stamps if stamp is not None and stamp <= now]
    if due:
        return max(due)
    return 0.0 if None not in stamps and len(stamps) == length else None


def _of_queue(ages: Sequence[float | None]) -> float | None:
    known = max((age for age in ages if age is not None), default=0.0)
    return None if known == 0.0 and None in ages else known


def ready_at(message: bytes | str) -> float | None:
    """When (unix time, s) a stored message could be taken: sent, and due; None when it does not say."""
    try:
        headers = json.loads(message)["headers"]
        sent = carrier.enqueued_at(headers)
        eta = nanoseconds(headers["eta"]) if headers.get("eta") else 0
    except (ValueError, KeyError, TypeError, AttributeError):  # not Celery's, or not of protocol 2
        return None
    return max(sent, eta) / 1e9 if sent or eta else None
