"""What the demo says before, between and after the trees."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.rule import Rule
from rich.text import Text

from otel_taskqueue.cli.demo.paint import ASCII, UNICODE, Painter, library_of
from otel_taskqueue.semconv import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from otel_taskqueue.cli.demo.tree import Trace

_OPENING = (
    "A shop takes two web requests. Each enqueues jobs, one request for Celery, the other for RQ. "
    "Some jobs succeed, one needs a second attempt, one fails, one is killed with SIGKILL. "
    "Each request becomes one trace."
)
_LOST = Text(
    "A killed attempt ends in the trace when its worker notices: RQ at once, Celery within 5 s.", "dim"
)


def print_opening(console: Console) -> None:
    """Say what is going to happen."""
    console.print()
    console.print(Text("otel-taskqueue demo", "bold"))
    console.print(_OPENING)
    console.print()


def print_trace(console: Console, trace: Trace, number: str) -> None:
    """Draw one trace below a headline."""
    symbols = UNICODE if "utf" in console.encoding else ASCII
    library = library_of(trace.attempts[0]) if trace.attempts else ""
    title = Text.assemble((f"trace {number}", "bold"), f"  {library}  ", (trace.trace_id, "dim"))
    console.print()
    console.print(Rule(title, align="left", style="dim", characters="─" if symbols is UNICODE else "-"))
    painter = Painter(trace, console.width, symbols)
    for line in painter.lines():
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


def print_closing(console: Console, found: Sequence[Trace], wrong: Sequence[str], shop: Path) -> None:
    """Count the outcomes, tell what is wrong, and where the shop's code is."""
    attempts = [attempt for trace in found for attempt in trace.attempts]
    outcomes = Counter(attempt.outcome or "no outcome" for attempt in attempts)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    console.print()
    console.print(Rule(style="dim", characters="─" if "utf" in console.encoding else "-"))
    if wrong:
        console.print(Text("Not everything arrived as it should:", "bold red"))
        for problem in wrong:
            console.print(Text(f"  {problem}"))
    else:
        console.print(Text(f"Every attempt has arrived, the killed ones too: {counted}.", "bold green"))
    if any(attempt.outcome == Outcome.LOST for attempt in attempts):
        console.print(_LOST)
    console.print(Text.assemble("The shop, without a line of otel-taskqueue: ", (str(shop), "cyan")))
    console.print(
        Text.assemble("The same for your own: ", ("opentelemetry-instrument celery -A ... worker", "cyan"))
    )
    console.print()
