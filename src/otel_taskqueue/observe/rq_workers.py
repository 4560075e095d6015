"""RQ's workers: their heartbeats and the queues they listen to, with one command for all of them.

A worker that stops says so in its hash for a minute; the hash of one that was killed expires. So a name
that left the set without a word is kept, and its age grows, until it has been silent for an hour.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from rq.worker_registration import REDIS_WORKER_KEYS

from otel_taskqueue import semconv
from otel_taskqueue.observe.redis_batch import text
from otel_taskqueue.observe.seen import LastSeen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_taskqueue.observe.readings import Reading
    from otel_taskqueue.observe.redis_batch import Batch

_PREFIX = "rq:worker:"
_FIELDS = ("#", "*->last_heartbeat", "*->queues", "*->death")
#: Vanished names whose end is looked up in one look; of the others it is taken for a clean one.
_MOST_ENDS = 5


class RQWorkers:
    """What the set of workers tells, look after look."""

    def __init__(self) -> None:
        self._seen = LastSeen(semconv.RQ)
        self._present: set[str] = set()

    def queues(self, batch: Batch) -> list[str] | None:
        """The queues of all registered workers, one entry for each worker; None when not allowed to know."""
        command = ["SORT", REDIS_WORKER_KEYS, "BY", "nosort"]
        for field in _FIELDS:
            command += ["GET", field]
        answer = batch.run([tuple(command)])[0]
        if answer is None:
            return None
        rows = [answer[place : place + len(_FIELDS)] for place in range(0, len(answer), len(_FIELDS))]
        present: set[str] = set()
        found: list[str] = []
        for key, heartbeat, queues, death in rows:
            if heartbeat is None or death is not None:  # its hash has expired, or it is ending
                continue
            name = text(key).removeprefix(_PREFIX)
            present.add(name)
            self._seen.seen(name, unix(heartbeat) or 0.0)
            found += set(text(queues or b"").split(","))
        self._say_goodbye(batch, present)
        return found

    def readings(self, now: float) -> Iterator[Reading]:
        """The age of each one's last heartbeat."""
        return self._seen.readings(now)

    def _say_goodbye(self, batch: Batch, present: set[str]) -> None:
        vanished = sorted(self._present - present)
        self._present = present
        asked, others = vanished[:_MOST_ENDS], vanished[_MOST_ENDS:]
        deaths = batch.run([("HGET", _PREFIX + name, "death") for name in asked])
        for name, death in zip(asked, deaths, strict=True):
            if death is not None:
                self._seen.gone(name)
        for name in others:
            self._seen.gone(name)


def unix(value: Any) -> float | None:
    """RQ's timestamps as unix time (s): ISO 8601 in UTC, with Z."""
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(text(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()
