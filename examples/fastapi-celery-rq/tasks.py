"""The shop's Celery application; its last step is a job for RQ."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery
from jobs import invoices, render_invoice
from rq import Retry

app = Celery("shop", broker=os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
logger = logging.getLogger(__name__)


class BankIsBusyError(Exception):
    """Comes with the first attempt and goes away by itself."""


@app.task(bind=True, autoretry_for=(BankIsBusyError,), default_retry_delay=1, max_retries=3)
def charge(self: Any, order: int) -> str:
    """Fail once, then succeed and ask for the invoice."""
    logger.info("charging order %s", order)
    if self.request.retries == 0:
        raise BankIsBusyError(order)
    invoices.enqueue(render_invoice, order, retry=Retry(max=2))
    return f"order {order} is paid"
