"""Counters that cost a job next to nothing: the SDK asks for the sums when it exports.

A record of the SDK's own counter costs as much as half a span. Adding here is one append, which
is safe in any thread and in a signal handler; it is summed up when somebody asks.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from opentelemetry.metrics import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions

#: Appended items that are summed up without being asked: nobody may ever ask.
_MOST: Final = 4096
_OTHER: Final = "_OTHER"

K = TypeVar("K", bound="Hashable")


class Bound:
    """Lets a limited number of different values pass; the rest is ``_OTHER``."""

    __slots__ = ("_most", "_seen")

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """The value itself, or what stands for all others."""
        if value in self._seen:
            return value
        if len(self._seen) < self._most:
            self._seen.add(value)
            return value
        return _OTHER


class Tally(Generic[K]):
    """Sums by key; ``attributes`` makes the attributes of a point from a key."""

    def __init__(self, attributes: Callable[[K], Mapping[str, str]]) -> None:
        self._attributes = attributes
        self._added: deque[K] = deque()
        self._sums: Counter[K] = Counter()
        self._summing = threading.Lock()

    def add(self, key: K) -> None:
        """One more of this kind."""
        self._added.append(key)
        if len(self._added) > _MOST and self._summing.acquire(blocking=False):
            try:
                self._sum_up()
            finally:
                self._summing.release()

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Callback of an observable counter."""
        with self._summing:
            self._sum_up()
            sums = list(self._sums.items())
        return [Observation(count, self._attributes(key)) for key, count in sums]

    def clear(self) -> None:
        """In a forked process: what the parent counted is the parent's."""
        self._summing = threading.Lock()
        self._added.clear()
        self._sums.clear()

    def _sum_up(self) -> None:
        while self._added:
            self._sums[self._added.popleft()] += 1
