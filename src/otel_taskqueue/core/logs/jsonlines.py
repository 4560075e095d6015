"""The JSON lines channel: one rotating file per worker and slot, next to the console and what is shipped.

A slot is what at most one process of a worker is at a time: the index of a prefork child, ``horse``
for RQ's work-horses, ``main`` for the worker itself. The next process of a slot goes on in its file.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.logs import handlers

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.core.logs.appending import AppendedFile
    from otel_taskqueue.settings import Settings

MAIN: Final = "main"
HORSE: Final = "horse"

_logger = logging.getLogger("otel_taskqueue")
#: Characters of a worker's name that stay as they are in a file's name. With its slot and the number
#: of a rotated file behind it, the name must not get longer than a file system takes.
_KEPT: Final = "@+=,:~ "
_LONGEST_NAME: Final = 200
#: After a failure the lines of this time (s) are lost before the next try.
_PAUSE: Final = 1.0
#: What was said; forked processes inherit it, so that not every child says it again.
_said: set[str] = set()


class JsonLines(logging.Handler):
    """Writes each record as one line of JSON: the copy without payloads that `handlers` gives it."""

    def __init__(self, file: AppendedFile, formatter: logging.Formatter) -> None:
        super().__init__()
        self.path = file.path
        self.setFormatter(formatter)
        self._file = file
        self._again_at = 0.0
        self._lost = 0
        folder = Path(file.path).parent
        self._no_lines = f"log lines cannot be written to {folder} and are lost"
        self._no_rotation = f"log files in {folder} cannot be rotated and grow on"

    def open(self) -> None:
        """Open the file now: what is wrong with it is said before there are children to say it, too."""
        with Guarded("JSON lines"):
            try:
                self._file.open()
            except OSError as error:
                self._failed(error)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; what fails is said once, and never raised."""
        with Guarded("JSON lines"):
            if self._again_at and time.monotonic() < self._again_at:
                self._lost += 1
                return
            line = self.format(record) + "\n"
            try:
                self._file.write(line.encode("utf-8", "replace"))
            except OSError as error:
                self._lost += 1
                self._failed(error)
            else:
                self._written()

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            self._file.close()
        finally:
            self.release()
        super().close()

    def _failed(self, error: OSError) -> None:
        self._again_at = time.monotonic() + _PAUSE
        _say(self._no_lines, error)

    def _written(self) -> None:
        if self._lost:
            lost, self._lost, self._again_at = self._lost, 0, 0.0
            _said.discard(self._no_lines)
            _logger.warning("log lines are written to %s again; %d were lost", Path(self.path).parent, lost)
        if self._file.trouble is not None:
            _say(self._no_rotation, self._file.trouble)


_current: JsonLines | None = None


def start(
    settings: Settings, worker: str, slot: str, writes: Callable[[logging.LogRecord], bool] | None = None
) -> None:
    """From here on this process writes the lines of a worker's slot, those that ``writes`` lets pass."""
    global _current  # noqa: PLW0603  one slot per process
    if not settings.log_dir:
        return
    path = path_of(settings.log_dir, worker, slot)
    if _current is not None and _current.path == path:
        return
    stop()
    _current = _make(path, settings, worker)
    if _current is not None:
        if writes is not None:
            _current.addFilter(writes)
        _current.open()
        handlers.place(_current)


def stop() -> None:
    """This process writes no lines any more."""
    global _current  # noqa: PLW0603
    if _current is not None:
        handlers.remove(_current)
        _current.close()
        _current = None


def path_of(folder: str, worker: str, slot: str) -> str:
    """The file of a slot; what a file's name cannot hold is written as ``%`` and its code."""
    name = quote(worker, safe=_KEPT, errors="replace")[:_LONGEST_NAME] or "worker"
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if name != worker:
        _say(f"the worker's name {worker!r} cannot name a file: its log files begin with {name!r}")
    return str(Path(folder).absolute() / f"{name}-{slot}.jsonl")


def _make(path: str, settings: Settings, worker: str) -> JsonLines | None:
    try:
        from otel_taskqueue.core.logs.line import LineFormatter  # noqa: PLC0415  needs the extra
    except ImportError:
        _say(
            "OTEL_PYTHON_TASKQUEUE_LOG_DIR needs python-json-logger, which is not installed: no log files "
            "are written. `pip install 'otel-taskqueue[json]'` installs it."
        )
        return None
    from otel_taskqueue.core.logs.appending import AppendedFile  # noqa: PLC0415  POSIX only

    file = AppendedFile(path, settings.log_max_bytes, settings.log_backups)
    return JsonLines(file, LineFormatter(worker))


def _say(message: str, error: OSError | None = None) -> None:
    if message not in _said:
        _said.add(message)
        _logger.warning("%s", f"{message}: {error.strerror or error}" if error is not None else message)
