"""The process runner that the other tests trust: nothing is left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support import procfs
from support.env import base_env
from support.process import RealProcess
from support.wait import NotInTimeError, wait_for

DETACHED = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("detached", os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
print("ready", flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def python(code: str, directory: Path) -> RealProcess:
    """Run ``code`` as a process."""
    return RealProcess("python", [sys.executable, "-c", code], env=base_env(), log=directory / "out.log")


def test_a_detached_grandchild_does_not_survive_the_stop(tmp_path: Path) -> None:
    """Stop finds what has left the session and names it."""
    process = python(DETACHED, tmp_path)
    process.wait_for_line("^ready")
    pid = int(process.wait_for_line(r"detached (\d+)")[1])
    assert procfs.is_alive(pid)
    stopped = process.stop()
    assert not procfs.is_alive(pid)
    assert [line.partition(":")[0] for line in stopped.left_behind] == [str(pid)]


def test_a_process_that_ignores_term_is_killed_after_the_deadline(tmp_path: Path) -> None:
    """The result says that it had to be killed and how long that took."""
    process = python(STUBBORN, tmp_path)
    process.wait_for_line("ready")
    stopped = process.stop(timeout=0.3)
    assert stopped.killed
    assert stopped.returncode == -9
    assert 0.3 <= stopped.seconds < 2


def test_waiting_for_a_line_of_a_dead_process_fails_with_its_output(tmp_path: Path) -> None:
    """A crash is reported at once, not after the timeout."""
    process = python("print('broken'); raise SystemExit(3)", tmp_path)
    with pytest.raises(NotInTimeError, match="broken"):
        process.wait_for_line("never", timeout=30)
    assert process.stop().returncode == 3


def test_a_condition_that_stays_false_says_what_was_seen() -> None:
    """The failure shows the state, not only the name of the condition."""
    with pytest.raises(NotInTimeError, match=r"two things[\s\S]*seen: \[1\]"):
        wait_for(lambda: False, 0.05, "two things", lambda: [1])
