"""What was judged of schedules, handed from leader to leader in the Redis of the schedules.

It is the one entry of a stream. Its id is the leader's term and a running number, and Redis itself takes
only an id above the last: in one step, and for one command. Who begins takes the next term, so what a
leader writes that was frozen meanwhile is refused, whatever lock had made it one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import ResponseError

from otel_taskqueue.core.schedule import HORIZON
from otel_taskqueue.observe.judge import Memory

if TYPE_CHECKING:
    from otel_taskqueue.observe.redis_batch import Batch

#: Schedules by key and name, with what is kept of each.
Memories = dict[str, Memory]

_FIELD: Final = "judged"
#: Seconds after which it is written although nothing has changed, so that it does not expire.
_FRESH: Final = 3600.0
_REFUSED: Final = "equal or smaller"


#: Begins the next term with what the last one has left; answers with both.
_BEGIN: Final = """
local last = redis.call('xrevrange', KEYS[1], '+', '-', 'COUNT', 1)[1]
local term = (last and tonumber(string.match(last[1], '^%d+')) or 0) + 1
local entry = last and last[2][2] or ''
redis.call('xadd', KEYS[1], 'MAXLEN', 1, string.format('%d-0', term), 'judged', entry)
redis.call('expire', KEYS[1], ARGV[1])
return {term, entry}
"""


class ScheduleMemory:
    """One leader's hold on ``key``."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._term = 0
        self._writes = 0
        self._fresh_until = 0.0

    def read(self, batch: Batch, now: float) -> tuple[float, Memories]:
        """Until when all is judged (unix time) and what is kept; of a day ago nothing is taken up again."""
        entries = batch.run([("XREVRANGE", self._key, "+", "-", "COUNT", 1)])[0] or ()
        left = [value for _, fields in entries for value in fields.values()]
        return _recalled(left[0] if left else "", now)

    def begin(self, batch: Batch, now: float) -> tuple[float, Memories]:
        """The same, as a leader whose term begins."""
        # None: this user may not; then nothing is kept.
        term, left = batch.script(_BEGIN, self._key, int(HORIZON), costs=3) or (0, "")
        self._term, self._writes, self._fresh_until = int(term), 0, now + _FRESH
        return _recalled(left, now)

    def is_stale(self, now: float) -> bool:
        """Whether it should be written although nothing has changed."""
        return now >= self._fresh_until

    def write(self, batch: Batch, now: float, since: float, memories: Memories) -> bool:
        """Replace it; False: a later leader has begun, and nothing is written."""
        if not self._term:
            return True
        self._writes += 1  # also when the answer is lost on its way
        identity = f"{self._term}-{self._writes}"
        entry = json.dumps([since, memories], separators=(",", ":"))
        commands: list[tuple[Any, ...]] = [("XADD", self._key, "MAXLEN", 1, identity, _FIELD, entry)]
        if self.is_stale(now):
            commands.append(("EXPIRE", self._key, int(HORIZON)))
        try:
            batch.run(commands)
        except ResponseError as error:
            if _REFUSED in str(error):
                return False
            raise
        if len(commands) > 1:
            self._fresh_until = now + _FRESH
        return True


def _recalled(left: Any, now: float) -> tuple[float, Memories]:
    try:
        since, kept = cast("tuple[Any, dict[str, Any]]", json.loads(left))
        memories = {name: _memory(value) for name, value in kept.items()}
        return max(float(since), now - HORIZON), memories
    except (AttributeError, TypeError, ValueError):  # nothing, or of another version
        return now - HORIZON, {}


def _memory(value: Any) -> Memory:
    due, run = cast("tuple[list[float], float]", value)
    return Memory(tuple(float(time) for time in due), float(run))
