"""A Celery application as it was before: nothing in it knows of telemetry."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery

app = Celery("shop", broker=os.environ.get("BROKER_URL", "redis://localhost:6379/0"))
logger = logging.getLogger(__name__)


class BankIsBusyError(Exception):
    """Comes with the first attempt and goes away by itself."""


@app.task(bind=True, autoretry_for=(BankIsBusyError,), default_retry_delay=1, max_retries=3)
def charge(self: Any, order: int) -> str:
    """Fail once, then succeed."""
    logger.info("charging order %s", order)
    if self.request.retries == 0:
        raise BankIsBusyError(order)
    receipt.delay(order)
    return f"order {order} is paid"


@app.task
def receipt(order: int) -> None:
    """Enqueued by a task, and in the same trace."""
    logger.info("receipt for order %s sent", order)
