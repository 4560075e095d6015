"""Spans of a small story, made by hand: what a Celery request with every kind of end looks like."""

from __future__ import annotations

from otel_taskqueue import semconv
from otel_taskqueue.cli.demo.harvest import Event, LogLine, Span, Value

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ORIGIN = 1_800_000_000_000_000_000
MS = 1_000_000


def span(  # noqa: PLR0913  a span has many sides
    span_id: str,
    parent_id: str,
    name: str,
    start: int,
    end: int,
    *,
    attributes: dict[str, Value] | None = None,
    events: tuple[Event, ...] = (),
    is_error: bool = False,
    status: str = "",
    service: str = "orders-worker",
) -> Span:
    """A span; times in milliseconds after the beginning of the story."""
    return Span(
        TRACE,
        span_id,
        parent_id,
        name,
        service,
        ORIGIN + start * MS,
        ORIGIN + end * MS,
        is_error,
        status,
        attributes or {},
        events,
    )


def send(span_id: str, parent_id: str, task: str, start: int, end: int, service: str = "shop-web") -> Span:
    """A `send` span."""
    attributes: dict[str, Value] = {
        semconv.MESSAGING_OPERATION_NAME: "send",
        semconv.TASK_NAME: task,
        semconv.SYSTEM: "celery",
        semconv.MESSAGING_DESTINATION_NAME: "orders",
    }
    return span(span_id, parent_id, f"send {task}", start, end, attributes=attributes, service=service)


def process(  # noqa: PLR0913  an attempt has many sides
    span_id: str,
    parent_id: str,
    task: str,
    start: int,
    end: int,
    outcome: str,
    *,
    attempt: int = 1,
    more: dict[str, Value] | None = None,
    events: tuple[Event, ...] = (),
    is_error: bool = False,
    status: str = "",
) -> Span:
    """A `process` span."""
    attributes: dict[str, Value] = {
        semconv.MESSAGING_OPERATION_NAME: "process",
        semconv.TASK_NAME: task,
        semconv.SYSTEM: "celery",
        semconv.TASK_ATTEMPT: attempt,
        semconv.TASK_OUTCOME: outcome,
        semconv.PROCESS_PID: 4711,
        semconv.TASK_WAIT: 0.0042,
        **(more or {}),
    }
    return span(
        span_id,
        parent_id,
        f"process {task}",
        start,
        end,
        attributes=attributes,
        events=events,
        is_error=is_error,
        status=status,
    )


RETRY = Event(
    semconv.EVENT_RETRY,
    {
        semconv.TASK_ATTEMPT: 2,
        semconv.RETRY_DELAY: 0.4,
        semconv.RETRY_REASON: "GatewayTimeout('no answer')",
    },
)
NO_COURIER = Event(
    semconv.EVENT_EXCEPTION,
    {
        semconv.EXCEPTION_TYPE: "orders.NoCourier",
        semconv.EXCEPTION_MESSAGE: "nobody goes to Pitcairn",
    },
)
WORKER_LOST = Event(
    semconv.EVENT_EXCEPTION,
    {
        semconv.EXCEPTION_TYPE: "billiard.einfo.WorkerLostError",
        semconv.EXCEPTION_MESSAGE: "Worker exited prematurely: signal 9 (SIGKILL) Job: 3.",
    },
)

SPANS = [
    span("01", "", "POST /orders", 0, 30, service="shop-web"),
    send("02", "01", "reserve_stock", 2, 6),
    process("03", "02", "reserve_stock", 10, 80, "success"),
    span("04", "03", "reserve items in the warehouse", 12, 75),
    send("05", "01", "charge_card", 7, 9),
    process("06", "05", "charge_card", 12, 55, "retry", events=(RETRY,)),
    send("07", "06", "charge_card", 50, 53, service="orders-worker"),
    process("08", "05", "charge_card", 456, 500, "success", attempt=2),
    send("09", "08", "send_receipt", 496, 499, service="orders-worker"),
    process("10", "09", "send_receipt", 503, 535, "success"),
    send("11", "01", "book_courier", 10, 12),
    process(
        "12",
        "11",
        "book_courier",
        60,
        85,
        "failure",
        events=(NO_COURIER,),
        is_error=True,
        status="nobody goes to Pitcairn",
    ),
    send("13", "01", "render_invoice", 13, 15),
    process(
        "14",
        "13",
        "render_invoice",
        90,
        180,
        "lost",
        more={semconv.EXIT_SIGNAL: "SIGKILL"},
        events=(WORKER_LOST,),
        is_error=True,
    ),
    span("15", "14", "load fonts", 91, 112),
]


def line(span_id: str, time: int, severity: str, body: str) -> LogLine:
    """A log line; time in milliseconds after the beginning of the story."""
    return LogLine(TRACE, span_id, ORIGIN + time * MS, severity, "orders", body)


LOGS = [
    line("12", 61, "INFO", "order 1042: asking 4 couriers"),
    line("06", 54, "WARN", "order 1042: the bank did not answer"),
    line("01", 1, "INFO", "order 1042 accepted"),
    line("04", 70, "INFO", "order 1042: 3 items reserved"),
    line("14", 113, "INFO", "order 1042: rendering 240 pages"),
    line("", 200, "INFO", "a line of no job"),
]
