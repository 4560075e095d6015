"""Ends what a test run started when the run itself dies without cleaning up (SIGKILL, time-out).

Run as a process: it waits for its standard input to close, which the kernel does however the
test run ends, then kills whatever carries the run's mark.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from support import procfs

RUN = "TASKQUEUE_TEST_RUN"


@functools.cache
def run_mark() -> str:
    """The mark of this test run; the first call starts its reaper."""
    mark = uuid.uuid4().hex
    subprocess.Popen(
        [sys.executable, "-m", "support.reaper", mark],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        start_new_session=True,
    )
    return mark


def main(mark: str) -> None:
    """Wait for the end of the test run, then kill what it left."""
    sys.stdin.read()
    while pids := procfs.marked(f"{RUN}={mark}"):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
