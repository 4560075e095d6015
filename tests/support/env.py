"""The environment which the started processes get: this interpreter's, without leftovers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# What a developer's shell may hold and what would change the behaviour under test.
FOREIGN = ("OTEL_", "CELERY_", "RQ_", "REDIS_", "RABBITMQ_", "DJANGO_", "C_FORCE_ROOT", "PYTEST_")


def base_env(**extra: str) -> dict[str, str]:
    """A copy of our environment that finds this interpreter's scripts and ``support``."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    env["PATH"] = f"{BIN}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["PYTHONPATH"] = str(TESTS)
    env["PYTHONUNBUFFERED"] = "1"
    # Celery's worker warns at length when it is run by root, as containers do.
    env["C_FORCE_ROOT"] = "1"
    # One example needs it; importing FastAPI would cost every other process half a second.
    env["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "fastapi"
    return {**env, **extra}


def script(name: str) -> str:
    """The console script ``name`` of this interpreter's environment.

    Raises:
        FileNotFoundError: it is not installed there.
    """
    path = BIN / name
    if not path.exists():
        raise FileNotFoundError(path)
    return str(path)


def must_have_everything() -> bool:
    """Whether a missing server is a failure (CI) instead of a visible skip."""
    return os.environ.get("OTEL_TASKQUEUE_REQUIRE_ALL") == "1"
