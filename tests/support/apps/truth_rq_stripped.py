"""A worker that gives its work-horses an environment of its own making."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from rq.worker import SpawnWorker


def _spawn(mode: int, file: str, args: list[str]) -> int:
    known = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_TASKQUEUE_")}
    return os.spawnve(mode, file, args, known)


class StrippingWorker(SpawnWorker):
    """Only what it knows gets through."""

    def fork_work_horse(self, *args: Any, **kwargs: Any) -> Any:
        """Spawn with that."""
        with mock.patch.object(os, "spawnv", _spawn):
            return super().fork_work_horse(*args, **kwargs)
