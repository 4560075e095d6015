# ruff: noqa: INP001  (an application of its own, started in this folder)
# pyright: basic, reportMissingImports=false, reportFunctionMemberAccess=false, reportOptionalMemberAccess=false
"""The web side of the demo shop: two requests which enqueue. It starts when a line comes in.

In a real application the instrumentation of the web framework makes these root spans.
"""

import logging
import sys

import catalogue
import orders
from opentelemetry import trace
from opentelemetry.trace import SpanKind

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)
tracer = trace.get_tracer(__name__)


def post_orders() -> None:
    """A customer buys: four tasks for Celery."""
    with tracer.start_as_current_span("POST /orders", kind=SpanKind.SERVER):
        log.info("order 1042 accepted")
        for task in (
            orders.reserve_stock,
            orders.charge_card,
            orders.book_courier,
            orders.render_invoice,
        ):
            task.delay(1042)


def post_imports() -> None:
    """A supplier sends new products: four jobs for RQ."""
    with tracer.start_as_current_span("POST /imports", kind=SpanKind.SERVER):
        log.info("import of Acme accepted")
        catalogue.enqueue_import("Acme")


if __name__ == "__main__":
    print("ready", flush=True)
    if sys.stdin.readline():
        post_orders()
        post_imports()
