# ruff: noqa: INP001  (an application of its own, started in this folder)
# pyright: basic, reportMissingImports=false, reportFunctionMemberAccess=false, reportOptionalMemberAccess=false
"""The RQ side of the demo shop: an application like any other, which knows nothing of telemetry."""

import logging
import os
import signal
import time

from opentelemetry import trace
from redis import Redis
from rq import Queue, Retry, get_current_job

logging.getLogger(__name__).setLevel(logging.INFO)
log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

MAX_RETRIES = 2


class FeedUnavailableError(Exception):
    """The supplier's server is down."""


class PriceMissingError(Exception):
    """A product without a price."""


def queue() -> Queue:
    """The queue of the demo."""
    return Queue(os.environ["DEMO_RQ_QUEUE"], connection=Redis.from_url(os.environ["DEMO_REDIS_URL"]))


def resize_photos(supplier: str) -> None:
    """Success, with a span of the application inside."""
    with tracer.start_as_current_span("resize 12 photos"):
        time.sleep(0.06)
        log.info("%s: 12 photos resized", supplier)


def fetch_feed(supplier: str) -> None:
    """A retry, then success; the success enqueues the next step."""
    time.sleep(0.04)
    if get_current_job().retries_left == MAX_RETRIES:
        log.warning("%s: the feed is not there", supplier)
        raise FeedUnavailableError(f"503 from {supplier}")
    log.info("%s: 87 products read", supplier)
    queue().enqueue(update_search, supplier)


def update_search(supplier: str) -> None:
    """Success; enqueued by another job."""
    time.sleep(0.03)
    log.info("%s: search index updated", supplier)


def check_prices(supplier: str) -> None:
    """A failure."""
    time.sleep(0.02)
    log.info("%s: checking 87 prices", supplier)
    raise PriceMissingError("product 4711 has no price")


def convert_video(supplier: str) -> None:
    """Killed in the middle, as by an operator or for want of memory."""
    with tracer.start_as_current_span("read video"):
        time.sleep(0.02)
    log.info("%s: converting 240 MB", supplier)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


def enqueue_import(supplier: str) -> None:
    """What the web request enqueues."""
    jobs = queue()
    jobs.enqueue(resize_photos, supplier)
    jobs.enqueue(fetch_feed, supplier, retry=Retry(max=MAX_RETRIES))
    jobs.enqueue(check_prices, supplier)
    jobs.enqueue(convert_video, supplier)
