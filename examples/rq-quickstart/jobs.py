"""Jobs for RQ as they were before: nothing in them knows of telemetry."""

from __future__ import annotations

import logging
import os

from redis import Redis
from rq import Queue, get_current_job

queue = Queue("default", connection=Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0")))
logger = logging.getLogger(__name__)


class FeedIsDownError(Exception):
    """Comes with the first attempt and goes away by itself."""


def fetch_feed(supplier: str) -> str:
    """Fail once, then succeed."""
    logger.info("fetching the feed of %s", supplier)
    job = get_current_job()
    if job is not None and job.retries_left == 3:  # noqa: PLR2004  (all of them: the first attempt)
        raise FeedIsDownError(supplier)
    queue.enqueue(update_search, supplier)
    return f"feed of {supplier} is read"


def update_search(supplier: str) -> None:
    """Enqueued by a job, and in the same trace."""
    logger.info("search knows %s", supplier)
