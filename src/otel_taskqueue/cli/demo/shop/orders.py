# ruff: noqa: INP001  (an application of its own, started in this folder)
# pyright: basic, reportMissingImports=false, reportFunctionMemberAccess=false, reportOptionalMemberAccess=false
"""The Celery side of the demo shop: an application like any other, which knows nothing of telemetry.

The one exception is the span in `reserve_stock`: the OpenTelemetry API, as an application uses it.
"""

import os
import signal
import time

from celery import Celery, Task
from celery.utils.log import get_task_logger
from opentelemetry import trace

app = Celery("orders", broker=os.environ["DEMO_REDIS_URL"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"global_keyprefix": os.environ["DEMO_PREFIX"]},
    task_default_queue="orders",
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)

log = get_task_logger(__name__)
tracer = trace.get_tracer(__name__)


class GatewayTimeoutError(Exception):
    """The bank did not answer."""


class NoCourierError(Exception):
    """Nobody delivers there."""


@app.task
def reserve_stock(order: int) -> None:
    """Success, with a span of the application inside."""
    with tracer.start_as_current_span("reserve items in the warehouse"):
        time.sleep(0.06)
        log.info("order %s: 3 items reserved", order)


@app.task(bind=True, max_retries=3)
def charge_card(self: Task, order: int) -> None:
    """A retry, then success; the success enqueues the receipt."""
    time.sleep(0.04)
    if self.request.retries == 0:
        log.warning("order %s: the bank did not answer", order)
        raise self.retry(exc=GatewayTimeoutError("no answer from the bank after 40 ms"), countdown=0.4)
    log.info("order %s: 59.90 EUR charged", order)
    send_receipt.delay(order)


@app.task
def send_receipt(order: int) -> None:
    """Success; enqueued by another task."""
    time.sleep(0.03)
    log.info("order %s: receipt sent", order)


@app.task
def book_courier(order: int) -> None:
    """A failure."""
    time.sleep(0.02)
    log.info("order %s: asking 4 couriers", order)
    raise NoCourierError(f"no courier delivers order {order} to Pitcairn")


@app.task
def render_invoice(order: int) -> None:
    """Killed in the middle, as by an operator or for want of memory."""
    with tracer.start_as_current_span("load fonts"):
        time.sleep(0.02)
    log.info("order %s: rendering 240 pages", order)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
