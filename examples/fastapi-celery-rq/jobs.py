"""Jobs for RQ: rendering takes much memory, so each job has a process of its own."""

from __future__ import annotations

import logging
import os
import signal

from redis import Redis
from rq import Queue, get_current_job

invoices = Queue(
    "invoices", connection=Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
)
logger = logging.getLogger(__name__)


def render_invoice(order: int) -> str:
    """Get killed once, then succeed."""
    logger.info("rendering the invoice of order %s", order)
    job = get_current_job()
    if job is not None and job.retries_left == 2:  # noqa: PLR2004  (all of them: the first attempt)
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is used up
    return f"invoice-{order}.pdf"
