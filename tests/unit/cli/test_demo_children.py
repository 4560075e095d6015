"""No process of the demo outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_taskqueue.cli.demo.children import ChildDiedError, Children
from support import procfs
from support.wait import wait_for

if TYPE_CHECKING:
    from pathlib import Path

_NAP = "import time; time.sleep(60)"
#: A process that leaves its session, ignores SIGTERM, and whose parent ends: an orphan.
_ORPHAN = f"""
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
{_NAP}
"""
#: Starts a child like the demo does, tells its pid, and naps (or whatever `then` does).
_DEMO = """
import os, sys, time
from pathlib import Path
from otel_taskqueue.cli.demo.children import Children
with Children(Path({folder!r})) as children:
    child = children.start("nap", [sys.executable, "-c", {code!r}], env=os.environ)
    deadline = time.monotonic() + 10
    while {wait} and not child.log.read_text().strip() and time.monotonic() < deadline:
        time.sleep(0.02)
    print(child.process.pid, child.log.read_text().strip(), flush=True)
    {then}
"""


def demo(folder: Path, then: str, code: str = _NAP, *, wait: bool = False) -> subprocess.Popen[str]:
    """A process of its own, since it becomes the reaper of orphans."""
    script = _DEMO.format(folder=str(folder), code=code, then=then, wait=wait)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def pids(process: subprocess.Popen[str]) -> list[int]:
    """The pids that it told."""
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def test_a_child_is_gone_after_the_block(tmp_path: Path) -> None:
    """Also when nobody stopped it."""
    process = demo(tmp_path, "pass")

    [child] = pids(process)
    assert 0 == process.wait(20)
    assert not procfs.is_alive(child)


def test_a_child_is_gone_after_an_exception(tmp_path: Path) -> None:
    """A crash of the demo leaves nothing behind."""
    process = demo(tmp_path, "sys.stderr.close(); raise RuntimeError")

    [child] = pids(process)
    assert 1 == process.wait(20)
    assert not procfs.is_alive(child)


def test_an_orphan_in_a_session_of_its_own_is_gone_too(tmp_path: Path) -> None:
    """RQ's work-horse leaves the group of its worker."""
    process = demo(tmp_path, "pass", _ORPHAN, wait=True)

    child, orphan = pids(process)
    assert 0 == process.wait(20)
    assert [False, False] == [procfs.is_alive(child), procfs.is_alive(orphan)]


def test_a_child_is_gone_when_the_demo_is_killed(tmp_path: Path) -> None:
    """Nobody can clean up after SIGKILL but the kernel."""
    itself = f"import os; print(os.getpid(), flush=True); {_NAP}"
    process = demo(tmp_path, "time.sleep(60)", itself, wait=True)
    child, said = pids(process)
    assert child == said, "the child has taken the leash"

    os.kill(process.pid, signal.SIGKILL)

    process.wait(20)
    wait_for(lambda: not procfs.is_alive(child), 5, "the child is gone")


def test_a_child_that_died_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Whoever waits for it learns why it will not come."""
    children = Children(tmp_path)
    child = children.start("worker", [sys.executable, "-c", "print('no broker'); exit(3)"], env=os.environ)
    child.process.wait(20)

    assert child.has_said("no broker")
    with pytest.raises(ChildDiedError, match=r"(?s)worker ended with status 3.*no broker"):
        child.has_said("ready")


def test_a_child_is_stopped_gently_first(tmp_path: Path) -> None:
    """A worker that is asked to stop can finish."""
    code = "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True);"
    children = Children(tmp_path)
    child = children.start("worker", [sys.executable, "-c", code + "time.sleep(60)"], env=os.environ)
    wait_for(lambda: child.has_said("up"), 10, "the child is up")

    children.stop(child, timeout=10)

    assert 7 == child.process.returncode
