"""A small shop that can be broken: a Celery application, RQ jobs; run as a program it enqueues for ever.

``python -m support.apps.faults`` sends orders and exports by Celery and nightly jobs by RQ.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import redis
from celery import Celery
from rq import Queue

import otel_taskqueue

#: Variables: the broker; a file during whose presence every second payment fails.
BROKER, BROKEN = "TASKQUEUE_TEST_BROKER", "TASKQUEUE_TEST_BROKEN"
PAYMENTS_EACH_SECOND = 4
# A work-horse for each is a fork: a busy machine must manage them.
SECONDS_BETWEEN_NIGHTLY_JOBS = 5

app = Celery("shop", broker=os.environ.get(BROKER))
app.conf.update(
    broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1, task_ignore_result=True
)


class PaymentDownError(ConnectionError):
    """The payment service cannot be reached."""


@app.task(name="shop.pay")
def pay(number: int) -> None:
    """Fail every second time while the shop is broken."""
    if number % 2 and Path(os.environ[BROKEN]).exists():
        raise PaymentDownError


@app.task(name="shop.export")
def export() -> None:
    """Nothing."""


def hang(seconds: float) -> None:
    """Take a while."""
    time.sleep(seconds)


def main() -> None:
    """Enqueue until somebody ends it."""
    otel_taskqueue.instrument()
    with redis.Redis.from_url(os.environ[BROKER]) as client:
        nightly = Queue("nightly", connection=client)
        for number in itertools.count():
            pay.apply_async((number,), queue="orders")
            if number % PAYMENTS_EACH_SECOND == 0:
                export.apply_async(queue="exports")
            if number % (SECONDS_BETWEEN_NIGHTLY_JOBS * PAYMENTS_EACH_SECOND) == 0:
                nightly.enqueue("support.apps.faults.hang", 0, result_ttl=0)
            time.sleep(1 / PAYMENTS_EACH_SECOND)


if __name__ == "__main__":
    main()
