"""Jobs which Celery's workers on Redis have taken and not acknowledged, by queue.

kombu keeps them in one hash for all queues; each value ends with the message's exchange and routing
key. They are grouped inside Redis, so that no message travels: one command while there are none, else
three (two of them given by a script; at first four), whatever the number of queues.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from otel_taskqueue.observe.redis_batch import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_taskqueue.observe.redis_batch import Batch

#: More messages, or bytes, than this are not counted: it would keep Redis busy.
_MOST_MESSAGES = 2000
_MOST_BYTES = 16 * 2**20
#: Exchanges looked up in one look, and places remembered.
_MOST_LOOKUPS = 2
_MOST_PLACES = 1000
_GROUP = """
local size = redis.call('memory', 'usage', KEYS[1], 'samples', 20)
if not size then return {} end
if size > tonumber(ARGV[1]) then return false end
local counts, groups, values = {}, {}, redis.call('hvals', KEYS[1])
if #values > tonumber(ARGV[2]) then return false end
for _, value in ipairs(values) do
  local exchange, key = string.match(string.sub(value, -600), '^.*, ?([^,]*), ?("[^"]*")%]$')
  local place = exchange and (exchange .. ',' .. key) or ''
  counts[place] = (counts[place] or 0) + 1
end
for place, count in pairs(counts) do table.insert(groups, {place, count}) end
return groups
"""


class Reserved:
    """``key`` is the hash, ``table`` makes the key of an exchange's binding table.

    ``bindings`` are (exchange, routing key) -> queue, as the application configures them.
    """

    def __init__(
        self, key: str, table: str, separator: str, queues: Sequence[str],
        bindings: Mapping[tuple[str, str], str],
    ) -> None:  # fmt: skip
        self._key = key
        self._table = table
        self._separator = separator
        self._queues = frozenset(queues)
        self._bindings = bindings
        self._found: dict[tuple[str, str], frozenset[str]] = {}
        self._lookups = 0
        self._some = False

    def by_queue(self, batch: Batch) -> dict[str, int]:
        """The count of each queue of which it is known."""
        self._lookups = 0
        groups = self._groups(batch)
        self._some = bool(groups)
        if groups is None:
            return {}
        counts = dict.fromkeys(self._queues, 0)
        for place, count in groups:
            queues = self._queues_of(batch, text(place))
            if len(queues) != 1:  # bound to several, or to none that is known: theirs are not known
                counts = {queue: size for queue, size in counts.items() if queues and queue not in queues}
                continue
            for queue in queues & counts.keys():
                counts[queue] += count
        return counts

    def _groups(self, batch: Batch) -> Sequence[Any] | None:
        """Places with their counts; None when there are too many, or this user may not know."""
        if not self._some:  # where the last look found some, the script is asked at once
            total = batch.run([("HLEN", self._key)])[0]
            if total == 0:
                return ()
            if total is None or total > _MOST_MESSAGES:
                return None
        return batch.script(_GROUP, self._key, _MOST_BYTES, _MOST_MESSAGES, costs=2)

    def _queues_of(self, batch: Batch, place: str) -> frozenset[str]:
        try:
            exchange, key = json.loads(f"[{place}]")
        except ValueError:
            return frozenset()
        found = self._found.get((exchange, key)) or self._resolve(batch, exchange or "", key)
        if found and len(self._found) < _MOST_PLACES:
            self._found[exchange, key] = found
        return found

    def _resolve(self, batch: Batch, exchange: str, key: str) -> frozenset[str]:
        """The queues to which this exchange sends messages of this key."""
        if not exchange:
            return frozenset({key})
        if (exchange, key) in self._bindings:
            return frozenset({self._bindings[exchange, key]})
        self._lookups += 1
        if self._lookups > _MOST_LOOKUPS:
            return frozenset()
        rows = batch.run([("SMEMBERS", self._table % (exchange,))])[0] or ()
        return _bound(rows, key, self._separator)


def _bound(rows: Sequence[Any], key: str, separator: str) -> frozenset[str]:
    found: set[str] = set()
    for row in rows:
        parts = text(row).split(separator)
        if len(parts) == 3 and (parts[0] == key or _matches(parts[1], key)):  # noqa: PLR2004
            found.add(parts[2])
    return frozenset(found)


def _matches(pattern: str, key: str) -> bool:
    try:
        return bool(pattern) and re.match(pattern, key) is not None
    except re.error:
        return False
