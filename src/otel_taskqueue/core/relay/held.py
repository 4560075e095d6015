"""Log frames of attempts whose end decides about them (LOG_SAMPLING), held in the worker's parent."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from otel_taskqueue.core import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

#: Frames of one attempt, and their bytes, that are held; the oldest drop.
MOST: Final = 1000
_MOST_BYTES: Final = 4 * 1024 * 1024
#: Decisions that are remembered: frames come later than the end of their attempt.
_DECIDED: Final = 4096


class _Frames:
    """The held frames of one attempt."""

    __slots__ = ("bytes", "dropped", "frames")

    def __init__(self) -> None:
        self.frames: deque[tuple[int, bytes]] = deque()
        self.bytes = 0
        self.dropped = 0

    def add(self, index: int, body: bytes) -> None:
        self.frames.append((index, body))
        self.bytes += len(body)
        while len(self.frames) > MOST or self.bytes > _MOST_BYTES:
            self.bytes -= len(self.frames.popleft()[1])
            self.dropped += 1


class Held:
    """All held frames; ``forward(index, body)`` takes those that pass. One thread at a time."""

    def __init__(self, forward: Callable[[int, bytes], None]) -> None:
        self._forward = forward
        self._held: dict[int, _Frames] = {}
        self._decided: OrderedDict[int, bool] = OrderedDict()

    def add(self, serial: int, index: int, body: bytes) -> None:
        """Hold a frame, or do at once what was decided about its attempt."""
        keep = self._decided.get(serial)
        if keep:
            self._forward(index, body)
        elif keep is None and attempts.find(serial) is not None:
            if serial not in self._held:
                self._held[serial] = _Frames()
            self._held[serial].add(index, body)

    def settle(self, serial: int, *, keep: bool) -> int:
        """The attempt has ended: forward its frames or drop them; how many of the kept ones are missing."""
        self._decided[serial] = keep
        if len(self._decided) > _DECIDED:
            self._decided.popitem(last=False)
        found = self._held.pop(serial, None)
        if found is None or not keep:
            return 0
        for index, body in found.frames:
            self._forward(index, body)
        return found.dropped
