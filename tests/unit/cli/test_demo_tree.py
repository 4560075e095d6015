"""The demo puts what arrived together, says what is missing, and draws it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from otel_taskqueue.cli.demo import poster
from otel_taskqueue.cli.demo.paint import ASCII, Painter, seconds
from otel_taskqueue.cli.demo.tree import problems, traces
from unit.cli.story import LOGS, ORIGIN, SPANS, TRACE, line, process, send, span

EXPECTED = {
    "reserve_stock": ("success",),
    "charge_card": ("retry", "success"),
    "send_receipt": ("success",),
    "book_courier": ("failure",),
    "render_invoice": ("lost",),
}


def drawn(width: int = 120) -> list[str]:
    """The story as lines of text."""
    [trace] = traces(SPANS, LOGS)
    return [text.plain.rstrip() for text in Painter(trace, width).lines()]


def test_one_trace_is_one_tree_in_the_order_of_time() -> None:
    """However the spans arrive, each hangs below its parent, the earlier first."""
    [trace] = traces(SPANS[::-1], LOGS)

    [root] = trace.roots
    assert TRACE == trace.trace_id
    assert "POST /orders" == root.span.name
    assert ["reserve_stock", "charge_card", "book_courier", "render_invoice"] == [
        child.task for child in root.children
    ]
    assert (ORIGIN, ORIGIN + 535_000_000) == (trace.start, trace.end)


def test_log_lines_are_with_the_span_that_wrote_them() -> None:
    """Lines of no span are left out, the others keep their order."""
    [trace] = traces(SPANS, LOGS)

    found = {node.span.span_id: [line.body for line in node.logs] for node in trace.walk() if node.logs}
    assert {
        "01": ["order 1042 accepted"],
        "04": ["order 1042: 3 items reserved"],
        "06": ["order 1042: the bank did not answer"],
        "12": ["order 1042: asking 4 couriers"],
        "14": ["order 1042: rendering 240 pages"],
    } == found


def test_a_complete_story_has_no_problems() -> None:
    """What was expected has arrived."""
    assert [] == problems(traces(SPANS, LOGS), EXPECTED)


def test_an_attempt_that_did_not_arrive_is_told() -> None:
    """A killed attempt without a span is the loss this demo is about."""
    without = [found for found in SPANS if found.span_id not in {"14", "15"}]

    assert ["render_invoice: expected lost, arrived nothing"] == problems(traces(without, ()), EXPECTED)


def test_an_attempt_with_another_end_is_told() -> None:
    """A retry that counts as a failure is wrong, and so is an attempt too many."""
    changed = [found for found in SPANS if found.span_id != "06"]
    changed.append(process("06", "05", "charge_card", 12, 55, "failure", is_error=True))
    changed.append(process("16", "13", "render_invoice", 200, 201, "success"))

    assert [
        "charge_card: expected retry, success, arrived failure, success",
        "render_invoice: expected lost, arrived lost, success",
    ] == problems(traces(changed, ()), EXPECTED)


def test_a_parent_that_did_not_arrive_is_told() -> None:
    """Its children are roots then, and the trace is still shown."""
    without = [found for found in SPANS if found.span_id != "13"]

    found = traces(without, ())
    assert ["the parent of `process render_invoice` did not arrive"] == problems(found, EXPECTED)
    assert ["POST /orders", "process render_invoice"] == [root.span.name for root in found[0].roots]


def test_a_span_that_arrived_twice_is_told() -> None:
    """Twice is as wrong as never."""
    assert ["span 01 arrived 2 times"] == problems(traces([*SPANS, SPANS[0]], ()), EXPECTED)


def test_an_unexpected_task_is_told() -> None:
    """Nothing may come from elsewhere."""
    more = [*SPANS, process("17", "01", "stray", 1, 2, "success")]

    assert ["stray: expected nothing, arrived success"] == problems(traces(more, ()), EXPECTED)


def test_the_drawing_tells_who_enqueued_which_attempts_and_how_each_ended() -> None:
    """The whole picture of the retried task, as a person reads it."""
    lines = [line.partition("  in orders-worker")[0] for line in drawn(80)]
    begin = next(number for number, line in enumerate(lines) if "send charge_card" in line)

    assert [
        "├─ send charge_card  to Celery queue orders                              2.0 ms",
        "│  ├─ attempt 1",
        "│  │  │  again in 0.4 s: GatewayTimeout('no answer')",
        "│  │  └─ send charge_card  for the next attempt                          3.0 ms",
        "│  └─ attempt 2",
        "│     └─ send send_receipt  to Celery queue orders                       3.0 ms",
        "│        └─ attempt 1",
    ] == [line for line in lines[begin : begin + 8] if "WARN" not in line]


@pytest.mark.parametrize(
    ("span_id_of", "ended", "took"),
    [
        ("reserve_stock", "✔ success", "70 ms"),
        ("book_courier", "✘ failure", "25 ms"),
        ("render_invoice", "✘ lost", "90 ms"),
    ],
)
def test_the_line_of_an_attempt_has_its_end_and_its_duration(span_id_of: str, ended: str, took: str) -> None:
    """In words, so that it can be read without colours."""
    lines = drawn()
    begin = next(number for number, line in enumerate(lines) if f"send {span_id_of}" in line)

    attempt = lines[begin + 1]
    assert "attempt 1  in orders-worker, pid 4711, waited 4.2 ms" in attempt
    assert f"{ended} " in attempt
    assert f" {took} " in attempt


def test_below_an_attempt_stands_why_it_ended_so() -> None:
    """The signal of a kill, the exception of a failure."""
    text = "\n".join(drawn())

    assert "its process was killed by SIGKILL\n" in text
    assert "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 3.\n" in text
    assert "NoCourier: nobody goes to Pitcairn\n" in text


def test_a_log_line_shows_time_severity_and_text() -> None:
    """Below the span that wrote it."""
    lines = drawn()
    at = next(number for number, line in enumerate(lines) if "the bank did not answer" in line)

    assert " WARN  order 1042: the bank did not answer" in lines[at]
    assert "attempt 1" in lines[at - 2]


def test_routine_lines_of_the_libraries_are_counted() -> None:
    """What Celery says about every job would hide what the application says; its warnings would not."""
    said = [
        line("12", 61, "INFO", "asking 4 couriers"),
        line("12", 62, "INFO", "Task received")._replace(logger="celery.worker.strategy"),
        line("12", 63, "INFO", "Task succeeded")._replace(logger="celery.app.trace"),
        line("12", 64, "INFO", "Task succeeded")._replace(logger="celery.app.trace"),
        line("12", 65, "ERROR", "Task raised")._replace(logger="celery.app.trace"),
    ]
    [trace] = traces(SPANS, said)

    found = [text.plain.strip() for text in Painter(trace, 120).lines()]
    begin = next(number for number, text in enumerate(found) if "asking 4 couriers" in text)
    assert "ERROR Task raised" in found[begin + 1]
    assert found[begin + 2].endswith("· 3 routine lines of celery.app.trace, celery.worker.strategy")


def test_a_long_log_line_is_cut_to_one_line() -> None:
    """Celery's own lines carry an id and a result."""
    [trace] = traces(SPANS, [line("12", 62, "INFO", "Task book_courier[" + "x" * 200)])

    [found] = [drawn.plain for drawn in Painter(trace, 80).lines() if "Task book" in drawn.plain]
    assert found.endswith("x…")
    assert 80 == len(found)


@pytest.mark.parametrize("width", [60, 80, 99, 100, 140])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    """Long names are cut, long reasons wrap."""
    deep = [*SPANS, send("18", "10", "a_task_with_a_very_long_name_" * 4, 1, 2)]
    [trace] = traces(deep, LOGS)

    assert max(line.cell_len for line in Painter(trace, width).lines()) <= width


def test_a_terminal_without_unicode_gets_plain_characters() -> None:
    """A C locale is no reason for a crash."""
    [trace] = traces(SPANS, LOGS)

    text = "\n".join(line.plain for line in Painter(trace, 120, ASCII).lines())

    assert text.isascii()
    assert "`- send render_invoice" in text


def test_the_closing_counts_the_outcomes() -> None:
    """One sentence says whether everything arrived."""
    console = Console(width=120)
    with console.capture() as shown:
        poster.print_closing(console, traces(SPANS, LOGS), [], Path("shop"))

    assert (
        "Every attempt has arrived, the killed ones too: 3 success, 1 retry, 1 failure, 1 lost."
        in shown.get()
    )


def test_the_closing_tells_what_is_wrong() -> None:
    """Each problem on its own line, and no praise."""
    console = Console(width=120)
    with console.capture() as shown:
        poster.print_closing(console, [], ["a: expected success, arrived nothing"], Path("shop"))

    text = shown.get()
    assert "  a: expected success, arrived nothing" in text
    assert "Every attempt has arrived" not in text


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [(0, "0.0 ms"), (860_000, "0.9 ms"), (12_400_000, "12 ms"), (999_400_000, "999 ms"), (1_254e6, "1.25 s")],
)
def test_durations_read_like_people_say_them(nanoseconds: int, expected: str) -> None:
    """Milliseconds, then seconds, with as many digits as matter."""
    assert expected == seconds(nanoseconds)


def test_a_span_of_the_application_keeps_its_name() -> None:
    """What is not ours is shown as it is, with its error."""
    broken = span("20", "03", "call the bank", 20, 30, is_error=True, status="no answer")
    [trace] = traces([*SPANS, broken], ())

    [line] = [line.plain for line in Painter(trace, 120).lines() if "call the bank" in line.plain]
    assert "✘ error" in line
