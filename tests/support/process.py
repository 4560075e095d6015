"""Run a real process, watch its output, stop it, and leave nothing of it behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from support import procfs
from support.reaper import RUN, run_mark
from support.wait import NotInTimeError, wait_for

MARK = "TASKQUEUE_TEST_MARK"
TAIL_LINES = 60


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a process ended: its exit status, the seconds it took, and what it left behind."""

    returncode: int
    seconds: float
    killed: bool
    left_behind: tuple[str, ...]


class RealProcess:
    """One process in its own session, its output in a file, its descendants marked.

    The mark is a variable of its environment: every descendant inherits it, also one that
    detached itself, so the clean-up finds them all and nothing else.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._mark = uuid.uuid4().hex
        self._result: Stopped | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.argv,
                env={**env, MARK: self._mark, RUN: run_mark()},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                pass_fds=pass_fds,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id of what was started."""
        return self.popen.pid

    def output(self) -> str:
        """Everything written so far."""
        return self.log.read_text(errors="replace")

    def tail(self) -> str:
        """The end of the output, for failure messages."""
        lines = self.output().splitlines()[-TAIL_LINES:]
        return f"--- {self.name} (pid {self.pid}, status {self.popen.poll()}) ---\n" + "\n".join(lines)

    def is_running(self) -> bool:
        """Whether the started process itself still runs."""
        return self.popen.poll() is None

    def children(self) -> list[int]:
        """Pids of the direct children."""
        return procfs.children(self.pid)

    def descendants(self) -> list[int]:
        """Pids of everything that came from this process and lives, itself included."""
        return procfs.marked(f"{MARK}={self._mark}")

    def wait_for_line(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Return the first match of ``pattern`` in the output.

        Raises:
            NotInTimeError: it did not appear, or the process ended without it.
        """
        regex = re.compile(pattern, re.MULTILINE)

        def look() -> re.Match[str] | bool | None:
            ended = not self.is_running()
            return regex.search(self.output()) or ended

        found = wait_for(look, timeout, f"a line {pattern!r} from {self.name}", self.tail)
        if not isinstance(found, re.Match):
            message = f"{self.name} ended without a line {pattern!r}\n{self.tail()}"
            raise NotInTimeError(message)
        return found

    def send_signal(self, number: int) -> None:
        """Send a signal to the started process alone."""
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Return the exit status once the process has ended.

        Raises:
            NotInTimeError: it still runs after ``timeout`` seconds.
        """
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            message = f"{self.name} still runs after {timeout:g} s\n{self.tail()}"
            raise NotInTimeError(message) from None

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> Stopped:
        """Ask the process to end, kill it after ``timeout``, then clean up its descendants."""
        if self._result is not None:
            return self._result
        started = time.monotonic()
        killed = False
        if self.is_running():
            self.send_signal(number)
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            killed = True
            self.popen.kill()
            self.popen.wait()
        seconds = time.monotonic() - started
        left = self._kill_descendants()
        self._result = Stopped(self.popen.returncode, seconds, killed, left)
        return self._result

    def kill(self) -> Stopped:
        """SIGKILL the process and everything that came from it."""
        return self.stop(signal.SIGKILL, timeout=5.0)

    def _kill_descendants(self) -> tuple[str, ...]:
        left: list[str] = []
        # A dying child may still be forking: look again until nothing is left.
        while pids := self.descendants():
            for pid in pids:
                left.append(f"{pid}: {procfs.command(pid)}")
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            wait_for(
                lambda gone=pids: not any(procfs.is_alive(pid) for pid in gone),
                20.0,
                "killed processes are gone",
            )
        return tuple(left)

    def __enter__(self) -> RealProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
