"""RQ jobs that log."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

from rq import get_current_job

from support.apps.logs_lines import speak
from support.apps.notes import note, own_notes

_log = logging.getLogger("rq.worker")


def chat(*_args: Any, **_kwargs: Any) -> str:
    """Say something in two attempts."""
    job = get_current_job()
    assert job is not None
    attempt = len(own_notes(job.id, "ran")) + 1
    note(job.id, "ran")
    speak(job.id, attempt, worker=_log)
    if attempt == 1:
        raise RuntimeError("once more")
    return "result=TOPSECRET"


def open_url(url: str) -> None:
    """Fail as HTTP clients do."""
    raise KeyError(url)


def leak(*_args: Any, **_kwargs: Any) -> None:
    """Fail with what nobody may read."""
    try:
        open_url("https://bob:TOPSECRET@example.com/")
    except KeyError as error:
        raise ValueError("cannot log in with password=TOPSECRET") from error


def kill_self() -> None:
    """Die."""
    os.kill(os.getpid(), signal.SIGKILL)


def stay() -> None:
    """Wait to be stopped."""
    _log.warning("staying")
    time.sleep(60)
