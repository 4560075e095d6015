"""Run a command that dies with the process which started it, even when that one is killed.

Run as a file (``python -S leash.py PARENT_PID COMMAND ...``), so that it costs a few milliseconds;
it replaces itself by the command and keeps its process id. Not on Linux: just the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); kept across exec


def main(parent: int, command: list[str]) -> None:
    """Ask the kernel for the signal, then become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  (our own command, and no shell)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
