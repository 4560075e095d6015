"""A file that grows line by line and is rotated: one write() a line, so that no line is ever torn.

The next process of a slot goes on where the one before it ended. Several processes may write into
one file (a worker and its beat, two workers of one name): appending keeps their lines whole, a lock
keeps their rotations apart, and whoever finds that the name has moved on follows it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_MODE: Final = 0o666  # the process's umask says who may read
#: After a rotation that failed the file grows on for this time (s).
_PATIENCE: Final = 60.0
#: A file that ends in half a line is looked at so often, so far apart (s), before that is taken for its end.
_LOOKS: Final = 5
_BETWEEN: Final = 0.01


class AppendedFile:
    """One file with its rotated ones; not safe for threads by itself.

    Args:
        path: Of the file that is written; rotated ones have ``.1`` (the newest), ``.2`` ... behind.
        max_bytes: It is rotated before it gets larger than this, by a line that is not its first.
        backups: Rotated files that are kept.
    """

    def __init__(self, path: str, max_bytes: int, backups: int) -> None:
        self.path = path
        self._name = Path(path)
        self.trouble: OSError | None = None
        self._max_bytes = max_bytes
        self._backups = backups
        self._descriptor = -1
        self._identity = (0, 0)
        self._owner = 0
        self._torn = False
        self._rotating = False
        self._rotate_after = 0.0

    def write(self, line: bytes) -> None:
        """Append a line, which ends with its newline; ``trouble`` holds why it could not be rotated.

        Raises:
            OSError: it was not written, or not wholly: then the next line begins with a newline.
        """
        size = self._size()
        if size and size + len(line) > self._max_bytes and not self._rotating:
            self._try_to_rotate()
        left = b"\n" + line if self._torn else line
        written = os.write(self._descriptor, left)
        while written < len(left):  # the disk is full: the rest fits, or the system says so
            self._torn = True
            left = left[written:]
            written = os.write(self._descriptor, left)
        self._torn = False

    def open(self) -> None:
        """Open the file, and see whether whoever wrote last has left half a line.

        Raises:
            OSError: it cannot be opened.
        """
        self._name.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, _FLAGS, _MODE)
        self.close()
        found = os.fstat(descriptor)
        self._descriptor, self._owner = descriptor, os.getpid()
        self._identity = (found.st_dev, found.st_ino)
        self._torn = _is_torn(descriptor)

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._is_held():
            os.close(self._descriptor)
        self._descriptor = -1

    def _is_held(self) -> bool:
        """Whether the descriptor is still our file: some processes close and reuse what they inherit."""
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _size(self) -> int:
        """The size of the file at the path; it is opened (again) when it is not the one we hold.

        A forked process must open it for itself: with a shared one it could not be locked out.
        """
        if self._owner == os.getpid() and self._is_held():
            with contextlib.suppress(FileNotFoundError):
                found = self._name.stat()
                if (found.st_dev, found.st_ino) == self._identity:
                    return found.st_size
        self.open()
        return os.fstat(self._descriptor).st_size

    def _try_to_rotate(self) -> None:
        """Rotate; lines that a signal handler logs meanwhile go to the file that is open."""
        if time.monotonic() < self._rotate_after:
            return
        self._rotating = True
        try:
            self._rotate()
            self.trouble = None
        except OSError as error:
            self.trouble = error
            self._rotate_after = time.monotonic() + _PATIENCE
        finally:
            self._rotating = False

    def _rotate(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process is just doing it
        except OSError:
            pass  # a file system without locks
        try:
            found = self._name.stat()
            if (found.st_dev, found.st_ino) == self._identity:
                self._move_up()
        except OSError:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            raise
        self.open()  # closing the old one unlocks it

    def _move_up(self) -> None:
        for number in range(self._backups - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}.{number}").replace(f"{self.path}.{number + 1}")
        self._name.replace(f"{self.path}.1")


def _is_torn(descriptor: int) -> bool:
    """Whether whoever wrote last has left half a line.

    Another process may be in the middle of it: a line that crosses a page is seen to grow.
    """
    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN)
        size = os.fstat(descriptor).st_size
        if not size or os.pread(descriptor, 1, size - 1) == b"\n":
            return False
    return True
