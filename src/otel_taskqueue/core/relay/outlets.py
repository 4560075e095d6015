"""From the relay into the processors of the parent: by their public methods, with a bounded backlog.

The SDK's batch queue throws its oldest item away when it is full, and that may be a process span.
So inner spans and logs pass only while that queue is below half, process spans while it has room;
what has to wait, waits here; what does not fit here either is dropped and counted.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.sdk import providers

if TYPE_CHECKING:
    from collections.abc import Callable

#: Items that wait for one processor.
BACKLOG: Final = 8192
_ROOM_KEPT: Final = 16


class Outlet:
    """One processor of the parent with the two backlogs in front of it."""

    __slots__ = ("_important", "_put", "_rest", "dropped", "processor", "signal")

    def __init__(self, processor: Any, signal: str) -> None:
        self.processor = processor
        self.signal = signal
        self.dropped = 0
        self._put: Callable[[Any], None] = processor.on_end if signal == "traces" else processor.on_emit
        self._important: deque[Any] = deque()
        self._rest: deque[Any] = deque()

    def add(self, item: Any, *, important: bool) -> None:
        """Queue an item; a full backlog drops the oldest of the less important ones."""
        (self._important if important else self._rest).append(item)
        if len(self._important) + len(self._rest) > BACKLOG:
            (self._rest or self._important).popleft()
            self.dropped += 1

    def forward(self) -> bool:
        """Give the processor what it has room for; True when nothing is left."""
        while self._important and self._room(share=1):
            self._give(self._important.popleft())
        while self._rest and self._room(share=2):
            self._give(self._rest.popleft())
        return not self._important and not self._rest

    @property
    def backlog(self) -> int:
        """Items that wait here."""
        return len(self._important) + len(self._rest)

    def _give(self, item: Any) -> None:
        with Guarded("export"):
            self._put(item)

    def _room(self, *, share: int) -> bool:
        found = providers.fill(self.processor)
        return found is None or found[0] < found[1] // share - (_ROOM_KEPT if share == 1 else 0)


class Outlets:
    """All processors of all pipelines."""

    def __init__(self, pipelines: list[providers.Pipeline], signals: list[str]) -> None:
        self._exact = [
            [Outlet(processor, signal) for processor in pipeline.exact]
            for pipeline, signal in zip(pipelines, signals, strict=True)
        ]

    def add(self, index: int, item: Any, *, important: bool) -> None:
        """Queue an item for each of the SDK's own processors of a pipeline."""
        for outlet in self._exact[index]:
            outlet.add(item, important=important)

    def forward(self) -> bool:
        """Forward what there is room for; True when nothing is left."""
        return all([outlet.forward() for outlet in self._all()])  # noqa: C419  each one, also behind a full one

    @property
    def backlog(self) -> int:
        """Items that wait in front of all processors."""
        return sum(outlet.backlog for outlet in self._all())

    def take_dropped(self) -> Counter[str]:
        """Items dropped since the last call, by signal."""
        found: Counter[str] = Counter()
        for outlet in self._all():
            found[outlet.signal] += outlet.dropped
            outlet.dropped = 0
        return +found

    def _all(self) -> list[Outlet]:
        return [outlet for row in self._exact for outlet in row]
