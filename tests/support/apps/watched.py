"""The tasks of which each end is known, and one that says too much: a worker of them fills the dashboards."""

from __future__ import annotations

import logging

from support.apps.truth_celery import app

logger = logging.getLogger(__name__)


@app.task
def talk(lines: int) -> None:
    """Say more than can be held, then fail: what was dropped is counted."""
    for number in range(lines):
        logger.info("line %d", number)
    raise ValueError(lines)
