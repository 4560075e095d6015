"""The least level of each channel, and of loggers, as LOG_LEVEL_FILE has them now.

Without the file INFO and above are shipped, and the JSON lines channel gets whatever the loggers let
pass. Its lines, in any order, `#` begins a comment::

    ship = INFO              # what is shipped to OpenTelemetry
    file = DEBUG             # what the JSON lines channel gets
    logger.shop.orders = DEBUG   # what a logger lets pass, to the console too (`logger.root`: all)

A channel that is named gets this level, whatever the root logger's: that one is opened as far as it
takes, and what would not have passed before does not reach the consoles, nor a channel that is not
named. Levels which the application has set on loggers of its own stay as they are.

The file is looked at every five seconds by a thread of each process: a job that is stuck logs
nothing that could remind us, and it is the one whose lines are wanted. Celery has use for every
signal that could tell.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The file is read again this often (s), when it has changed.
INTERVAL: Final = 5.0
#: What is shipped when the file does not say it.
SHIPPED: Final = logging.INFO
_LONGEST: Final = 64 * 1024
_ROOT: Final = "root"
_PREFIX: Final = "logger."
_LEVELS: Final[Mapping[str, int]] = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
    "FATAL": logging.CRITICAL,
}

_logger = logging.getLogger("otel_taskqueue")


class Wanted(NamedTuple):
    """What the file asks for; None: it does not say."""

    ship: int | None = None
    file: int | None = None
    loggers: Mapping[str, int] = {}


class Changed(NamedTuple):
    """A logger's level: as it was, and as we set it."""

    former: int
    ours: int


def parse(text: str, old: Wanted) -> tuple[Wanted, list[str]]:
    """Read the file's lines; a level that cannot be read stays as in ``old``, and its line is returned."""
    channels: dict[str, int | None] = {"ship": None, "file": None}
    loggers: dict[str, int] = {}
    bad: list[str] = []
    for line in text.splitlines():
        bare = line.partition("#")[0].strip()
        if not bare:
            continue
        key, _, value = (part.strip() for part in bare.partition("="))
        level = _LEVELS.get(value.upper())
        if level is None:
            bad.append(bare)
        name = key.removeprefix(_PREFIX)
        if key in channels:
            channels[key] = getattr(old, key) if level is None else level
        elif name and name != key:
            known = old.loggers.get(name) if level is None else level
            if known is not None:
                loggers[name] = known
        elif level is not None:
            bad.append(bare)
    return Wanted(channels["ship"], channels["file"], loggers), bad


class Levels:
    """The levels in force in this process.

    Args:
        path: Of the file; empty: there is none.
        opened: Loggers whose level the queue's library sets itself; they are opened with the root.
    """

    def __init__(self, path: str, opened: Iterable[str] = ()) -> None:
        self.wanted = Wanted()
        self._path = Path(path).absolute() if path else None
        self._openable = (_ROOT, *opened)
        self._seen: tuple[int, ...] | None = None
        self._said: set[str] = set()
        self._set: dict[str, Changed] = {}
        self._opened: dict[str, Changed] = {}

    def ships(self, record: logging.LogRecord, least: int = SHIPPED) -> bool:
        """Whether a record is shipped; ``least`` stands for what the file does not say."""
        if self.wanted.ship is not None:
            return record.levelno >= self.wanted.ship
        return record.levelno >= least and self.passed_before(record)

    def writes(self, record: logging.LogRecord) -> bool:
        """Whether a record is a line of the JSON lines channel."""
        if self.wanted.file is not None:
            return record.levelno >= self.wanted.file
        return self.passed_before(record)

    def passed_before(self, record: logging.LogRecord) -> bool:
        """Whether a record would have passed its logger without us."""
        return not self._opened or record.levelno >= self._former_level(record.name)

    def check(self) -> None:
        """Read the file when it has changed, and see that the levels are still as they should be."""
        with Guarded("log levels"):
            self._read()
            self._apply()

    def restore(self) -> None:
        """Give every logger its own level back."""
        self.wanted = Wanted()
        self._apply()

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            found = self._path.stat()
            seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if seen == self._seen:
                return
            with self._path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(_LONGEST)
        except FileNotFoundError:
            self._seen, self.wanted = None, Wanted()
            return
        except OSError as error:
            self._say(f"the log level file {self._path} cannot be read, levels stay: {error.strerror}")
            return
        self._seen = seen
        self.wanted, bad = parse(text, self.wanted)
        for line in bad:
            self._say(f"{self._path}: {line!r} is no level; `ship = INFO` or `logger.<name> = DEBUG` is one")

    def _apply(self) -> None:
        loggers, lowest = self.wanted.loggers, self._lowest()
        for name in self._openable:
            if name in loggers:
                self._change(self._opened, name, None)
        for name in {*self._set, *loggers}:
            self._change(self._set, name, loggers.get(name))
        for name in self._openable:
            if name not in loggers:
                self._change(self._opened, name, lowest, only_lower=True)

    def _lowest(self) -> int | None:
        named = [level for level in (self.wanted.ship, self.wanted.file) if level is not None]
        return min(named) if named else None

    def _change(
        self, table: dict[str, Changed], name: str, level: int | None, *, only_lower: bool = False
    ) -> None:
        """Set a logger's level, or give it its own back; one that was set meanwhile by others is its own."""
        logger = logging.getLogger(None if name == _ROOT else name)
        known = table.get(name)
        own = known.former if known is not None and logger.level == known.ours else logger.level
        if level is None or (only_lower and not level < own):
            if known is not None:
                del table[name]
                logger.setLevel(own)
            return
        table[name] = Changed(own, level)
        if logger.level != level:
            logger.setLevel(level)

    def _former_level(self, name: str) -> int:
        """The level that counts for a logger of this name, as if none had been opened."""
        found = logging.Logger.manager.loggerDict.get(name)
        logger: logging.Logger | None = found if isinstance(found, logging.Logger) else logging.getLogger()
        while logger is not None:
            changed = self._opened.get(logger.name)
            level = changed.former if changed is not None else logger.level
            if level:
                return level
            logger = logger.parent
        return logging.NOTSET

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            _logger.warning("%s", message)


_current: Levels | None = None
_watched_by = 0


def start(path: str, opened: Iterable[str] = ()) -> Levels:
    """In a worker and again in each of its children: the levels of this process, kept up to date."""
    global _current, _watched_by  # noqa: PLW0603  one set of levels per process
    if _current is None:
        _current = Levels(path, opened)
    _current.check()
    if path and _watched_by != os.getpid():
        _watched_by = os.getpid()
        threading.Thread(
            target=_watch, args=(_current,), name="otel-taskqueue-log-levels", daemon=True
        ).start()
    return _current


def stop() -> None:
    """Levels are the application's alone again."""
    global _current, _watched_by
    if _current is not None:
        _current.restore()
    _current, _watched_by = None, 0


def _watch(levels: Levels) -> None:
    pause = threading.Event()
    while levels is _current:
        pause.wait(INTERVAL)
        if levels is _current:
            levels.check()
