"""A trace as a backend's trace view shows it, in text: services, tree, durations, a time line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from support.otlp.model import Span

TIME_LINE = 24
# A duration and its bar, at the end of a line or in the headline.
TIMES = re.compile(r"\s+\d[\d.]* m?s\b[ ━╸]*")


class Row(NamedTuple):
    """A line of the view."""

    span: Span
    depth: int
    text: str


def view(spans: Sequence[Span]) -> str:
    """A headline, then one line per span below its parent's; ``(!)`` marks an error."""
    rows = list(_rows(spans, "", 1, ""))
    root = rows[0].span
    whole = max(span.end for span in spans) - root.start
    services = max(len(row.span.service) for row in rows)
    width = max(len(row.text) for row in rows)
    named = {row.span.service for row in rows}
    counts = f"Services {len(named)}   Depth {max(row.depth for row in rows)}   Total Spans {len(rows)}"
    lines = [f"{root.service}: {root.name}   Duration {_time(whole)}   {counts}", ""]
    for span, _, text in rows:
        before = round((span.start - root.start) / whole * (TIME_LINE - 1))
        bar = "━" * round((span.end - span.start) / whole * TIME_LINE) or "╸"
        duration = _time(span.end - span.start)
        lines.append(f"{span.service:{services}}  {text:{width}}  {duration:>8}  {' ' * before}{bar}")
    return "\n".join(lines)


def structure(text: str) -> list[str]:
    """The lines of a view without what differs from run to run."""
    return [TIMES.sub(" ", line).rstrip() for line in text.strip().splitlines()]


def _rows(spans: Sequence[Span], parent: str, depth: int, margin: str) -> Iterator[Row]:
    children = sorted((span for span in spans if span.parent_id == parent), key=lambda span: span.start)
    for span in children:
        last = span is children[-1]
        branch, below = ("", "") if depth == 1 else ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield Row(span, depth, f"{margin}{branch}{_described(span)}")
        yield from _rows(spans, span.span_id, depth + 1, margin + below)


def _described(span: Span) -> str:
    words = [span.name]
    if "taskqueue.task.outcome" in span.attributes:
        words.append(f"#{span.attributes['taskqueue.task.attempt']}")
        words.append(span.attributes["taskqueue.task.outcome"])
    return " ".join([*words, *(["(!)"] if span.status == "ERROR" else [])])


def _time(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
