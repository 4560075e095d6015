"""A Redis connection with deadlines of ours, made like those of an application's connection pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Command = tuple[str | bytes | int, ...]

#: Seconds that Redis has for each answer, whatever the application allows it.
TIMEOUT: Final = 0.5
#: Where ours differ from the application's: nothing is tried twice, nothing waited for.
_OURS: Final[dict[str, Any]] = {
    "retry": None,
    "retry_on_timeout": False,
    "retry_on_error": [],
    "health_check_interval": 0,
}


class NoRedisError(Exception):
    """The application has no Redis."""


class Wire:
    """One connection, kept open; not to be shared between threads.

    Below the level of a client: no instrumentation makes spans of it, and no policy of the
    application (retries, prefixes, decoding) has a part in it.

    Args:
        find_pool: Returns a connection pool of redis-py, or None; called for each new connection.
    """

    def __init__(self, find_pool: Callable[[], Any]) -> None:
        self._find_pool = find_pool
        self._pool: Any = None  # a connection of a sentinel's pool holds it by a weak reference
        self._connection: Any = None

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send all commands at once and return their answers.

        Raises:
            NoRedisError: There is none to send to.
            Exception: Whatever redis-py raises. The next call makes a new connection.
        """
        reused = self._connection is not None
        try:
            return self._exchange(commands)
        except Exception:
            self.close()
            if not reused:
                raise
        try:
            return self._exchange(commands)  # the old one may have been closed while it was idle
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        self._pool = None
        if connection is not None:
            connection.disconnect()

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        if self._connection is None:
            self._pool = self._find_pool()
            if self._pool is None:
                raise NoRedisError
            self._connection = self._pool.connection_class(**_bounded(self._pool.connection_kwargs))
        self._connection.send_packed_command(self._connection.pack_commands(commands))
        return [self._connection.read_response() for _ in commands]


def _bounded(options: dict[str, Any]) -> dict[str, Any]:
    changed = {name: value for name, value in _OURS.items() if name in options}
    timeouts: dict[str, Any] = {"socket_timeout": TIMEOUT}
    if "path" not in options:  # older connections by a Unix socket do not know the other one
        timeouts["socket_connect_timeout"] = TIMEOUT
    return {**options, **changed, **timeouts}
