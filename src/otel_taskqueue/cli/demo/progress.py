"""What the demo is doing right now: a spinner in a terminal, one line for each finished step."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console
    from rich.status import Status


class Step:
    """One step that is being done."""

    def __init__(self, words: str, status: Status) -> None:
        self.words = words
        self._status = status

    def says(self, words: str) -> None:
        """Replace the words, now and in the line of the finished step."""
        self.words = words
        self._status.update(Text(words))


class Progress:
    """Tells the steps of the demo as they happen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._can_draw = "utf" in console.encoding

    @contextmanager
    def step(self, words: str) -> Generator[Step, None, None]:
        """Show what is being done, and print a line when it is."""
        started = time.monotonic()
        with self._console.status(Text(words), spinner="dots" if self._can_draw else "line") as status:
            step = Step(words, status)
            yield step
        took = time.monotonic() - started
        mark = "✔" if self._can_draw else "ok"
        line = Text.assemble((mark, "green"), f" {step.words} ", (f"({took:.1f} s)", "dim"))
        self._console.print(line)
