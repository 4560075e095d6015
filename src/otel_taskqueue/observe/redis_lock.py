"""The leader's lock on Redis: a key that expires, which its holder prolongs.

``SET NX PX`` takes it, so that exactly one does; a counter beside it numbers the leaderships.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from otel_taskqueue.observe.election import Held

if TYPE_CHECKING:
    from collections.abc import Callable

_EXPIRY = 6.0
#: By how much (s) a holder stops before the key expires: clocks run at different speeds.
_MARGIN = 1.0
_PAUSE = 3.0
_DELETE_IF_OURS = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
)


class RedisLock:
    """``open_client`` gives a client whose commands end within seconds, answered or not."""

    lease = _EXPIRY - _MARGIN
    pause = _PAUSE
    outlives_connection = True

    def __init__(self, open_client: Callable[[], Any], key: str) -> None:
        self._open = open_client
        self._client: Any = None
        self._key = key
        self._ours = uuid.uuid4().hex
        self._expiry = int(_EXPIRY * 1000)

    def acquire(self) -> Held | float:
        """Take the key, or look again when it expires (a leader that ends deletes it): one command."""
        client = self._connected()
        left = client.pttl(self._key)
        if left > 0:
            return min(max(left / 1000, 0.05), _PAUSE)
        if client.set(self._key, self._ours, nx=True, px=self._expiry):
            return self._held(client)
        return 0.05  # another was faster

    def renew(self) -> bool:
        """Prolong the key and see whose it is, in one command.

        When it is another's, that one's time was prolonged: harmless, whoever asks here stops then.
        """
        client = self._connected()
        try:
            holder = client.execute_command("GETEX", self._key, "PX", self._expiry)
        except ResponseError as error:
            if isinstance(error, NoPermissionError) or "unknown command" not in str(error).lower():
                raise
            holder = self._renew_before_redis_6_2(client)
        return holder in (self._ours, self._ours.encode())

    def release(self) -> None:
        """Delete the key if it holds our value."""
        try:
            self._connected().eval(_DELETE_IF_OURS, 1, self._key, self._ours)
        except Exception:  # noqa: BLE001  (it expires by itself)
            return

    def _renew_before_redis_6_2(self, client: Any) -> Any:
        holder = client.get(self._key)
        client.pexpire(self._key, self._expiry)
        return holder

    def _held(self, client: Any) -> Held:
        term = client.incr(f"{self._key}:term")
        return Held(term, self._silence(client, term))

    def _silence(self, client: Any, term: int) -> float:
        """A server that was emptied, or has just started, may have forgotten another's lock."""
        if term == 1:
            return _EXPIRY - _MARGIN
        try:
            up = float(client.info("server")["uptime_in_seconds"])
        except (NoPermissionError, KeyError):
            return _EXPIRY - _MARGIN
        return max(0.0, _EXPIRY - _MARGIN - up + 1)  # whole seconds, rounded down

    def _connected(self) -> Any:
        if self._client is None:
            self._client = self._open()
        return self._client
