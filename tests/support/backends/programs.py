"""Where the real programs are; a missing one is a visible skip, in CI a failure."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from support.env import TESTS, must_have_everything

ROOT = TESTS.parent


def require(name: str) -> Path:
    """The program's file (of Kafka: the folder of its jars); skips or fails when it is not here."""
    path, reason = _which(name)
    if path is None:
        (pytest.fail if must_have_everything() else pytest.skip)(reason)
    return path


@cache
def _which(name: str) -> tuple[Path | None, str]:
    command = [sys.executable, "-m", "backends", "--which", name]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode:
        return None, asked.stderr.strip()
    return Path(asked.stdout.strip()), ""
