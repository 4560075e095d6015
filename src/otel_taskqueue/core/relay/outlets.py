"""From the relay into the processors of the parent: by their public methods, with a bounded backlog.

The SDK's batch queue throws its oldest item away when it is full, and that may be a process span.
So inner spans and logs pass only while that queue is below half, process spans while it has room;
what has to wait, waits here; what does not fit here either is dropped and counted.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.sdk import providers

if TYPE_CHECKING:
    from collections.abc import Callable

#: Items that wait for one processor.
BACKLOG: Final = 8192
_ROOM_KEPT: Final = 16


class Outlet:
    """One processor of the parent with the two backlogs in front of it."""

    __slots__ = ("_important", "_put", "_rest", "dropped", "emptied", "processor", "signal")

    def __init__(self, processor: Any, signal: str) -> None:
        self.processor = processor
        self.signal = signal
        self.dropped = 0
        self.emptied = threading.Event()
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
        if found is None:
            return True
        waiting, size = found
        return waiting < max(1, size // 2 if share > 1 else size - min(_ROOM_KEPT, size // 2))


class DirectOutlet(Outlet):
    """A processor that exports at once has a thread of its own: a slow one holds nobody else up."""

    __slots__ = ("_busy", "_called")

    def __init__(self, processor: Any, signal: str) -> None:
        super().__init__(processor, signal)
        self._busy = False
        self._called = threading.Event()
        threading.Thread(target=self._run, name="otel-taskqueue-export", daemon=True).start()

    def forward(self) -> bool:
        """Let the thread work; True when nothing is left."""
        if super().backlog:
            self._called.set()
        return not self.backlog

    @property
    def backlog(self) -> int:
        """Items that wait here, the one that is being exported included."""
        return super().backlog + self._busy

    def _run(self) -> None:
        with suppress_instrumentation():
            while True:
                self._called.wait()
                self._called.clear()
                self._busy = True
                super().forward()
                self._busy = False


def outlet(processor: Any, signal: str) -> Outlet:
    """The outlet that fits a processor."""
    kind = DirectOutlet if providers.fill(processor) is None else Outlet
    return kind(processor, signal)


class Outlets:
    """All processors of all pipelines."""

    def __init__(self, pipelines: list[providers.Pipeline], signals: list[str]) -> None:
        self._exact = [
            [outlet(processor, signal) for processor in pipeline.exact]
            for pipeline, signal in zip(pipelines, signals, strict=True)
        ]

    def add(self, index: int, item: Any, *, important: bool) -> None:
        """Queue an item for each of the SDK's own processors of a pipeline."""
        for each in self._exact[index]:
            each.add(item, important=important)

    def forward(self) -> bool:
        """Forward what there is room for; True when nothing is left."""
        return all([each.forward() for each in self._all()])  # noqa: C419  each one, also behind a full one

    def finish(self) -> None:
        """Nothing more will come: whoever waits for an outlet that is empty may go on."""
        for each in self._all():
            if not each.backlog:
                each.emptied.set()

    def emptied(self, processor: Any) -> threading.Event | None:
        """Set when all has been forwarded to a processor of ours; None for one that is not."""
        return next((each.emptied for each in self._all() if each.processor is processor), None)

    @property
    def backlog(self) -> int:
        """Items that wait in front of all processors."""
        return sum(each.backlog for each in self._all())

    def take_dropped(self) -> Counter[str]:
        """Items dropped since the last call, by signal."""
        found: Counter[str] = Counter()
        for each in self._all():
            found[each.signal] += each.dropped
            each.dropped = 0
        return +found

    def _all(self) -> list[Outlet]:
        return [each for row in self._exact for each in row]
