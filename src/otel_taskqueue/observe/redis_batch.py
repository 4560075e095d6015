"""Redis commands sent together and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Batch:
    """What one look asks of a Redis; ``commands`` counts as the server does."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.commands = 0

    def run(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers, in order; None for a command that this user may not give.

        Raises:
            redis.RedisError: the server does not answer, or refuses for another reason.
        """
        if not commands:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        self.commands += len(commands)
        return [_allowed(answer) for answer in pipeline.execute(raise_on_error=False)]

    def script(self, text: str, key: str, *arguments: int, costs: int) -> Any:
        """The answer of a script which gives ``costs`` commands itself; None when it is not allowed."""
        self.commands += costs
        return self.run([("EVAL", text, 1, key, *arguments)])[0]


def _allowed(answer: Any) -> Any:
    if not isinstance(answer, Exception):
        return answer
    # SORT is refused its GET in words alone: Redis wants the right to read every key for it.
    if isinstance(answer, NoPermissionError) or "ACL permissions" in str(answer):
        return None
    raise answer


def text(value: Any) -> str:
    """A value of Redis as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
