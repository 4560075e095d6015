"""The processes of the demo: started with a log file each, and none of them left behind.

Three nets, each for what falls through the one before: our `finally` stops what it started; then
everything which has become our child (we are the subreaper of orphans) is killed; and when we are
killed ourselves, the kernel kills what we started (`leash`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, final

from otel_taskqueue.cli.demo import leash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_KILL_SECONDS = 3.0


class Child(NamedTuple):
    """One process and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def has_said(self, words: str) -> bool:
        """Whether its output holds these words; raises ChildDiedError when it has ended."""
        if words in self.log.read_text(errors="replace"):
            return True
        if self.process.poll() is not None:
            raise ChildDiedError(self)
        return False


class ChildDiedError(Exception):
    """A process of the demo ended before it should."""

    def __init__(self, child: Child) -> None:
        lines = child.log.read_text(errors="replace").splitlines()[-15:]
        output = "\n".join(f"    {line}" for line in lines) or "    (no output)"
        super().__init__(
            f"{child.name} ended with status {child.process.returncode}; the last it said:\n{output}"
        )


@final
class Children:
    """``with Children(folder) as children:`` - at the end of the block all of them are gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Child] = []

    def __enter__(self) -> Children:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._running:
            _kill_group(child.process.pid)
        for child in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(_KILL_SECONDS)
        kill_descendants()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> Child:
        """Start a command in a session of its own, so that Ctrl-C reaches only us."""
        log = self._folder / f"{name.replace(' ', '-')}.log"
        leashed = [sys.executable, "-S", leash.__file__, str(os.getpid()), *command]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  (our own commands, no shell)
                leashed,
                env=env,
                cwd=cwd,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._running.append(child)
        return child

    def stop(self, *children: Child, timeout: float) -> None:
        """Ask them to stop (SIGTERM) and wait; whoever is late is killed when the block ends."""
        for child in children:
            child.process.terminate()
        deadline = time.monotonic() + timeout
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_descendants() -> None:
    """Kill what is left below this process, and what was orphaned to it, until nothing is left."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (found := _children_of(os.getpid())) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children_of(parent: int) -> list[int]:
    """Process ids whose parent this is; empty where there is no /proc."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "pid (name) state ppid ...": the name may hold blanks and brackets.
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(status.parent.name))
    return found
