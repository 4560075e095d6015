"""Traces as trees: drawn for a person who reads a failure, and checked for loose ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from support.otlp.model import Span

SHOWN = (
    "messaging.message.id",
    "taskqueue.task.attempt",
    "taskqueue.task.outcome",
    "error.type",
    "process.pid",
)


def draw(spans: Iterable[Span]) -> str:
    """One line per span, children below their parent, loose ends marked."""
    everything = sorted(spans, key=lambda span: span.start)
    if not everything:
        return "(no span)"
    known = {span.span_id for span in everything}
    below: Mapping[str, list[Span]] = _by_parent(everything)
    lines: list[str] = []
    for span in everything:
        if span.parent_id not in known:
            dangling = f"  <- parent {span.parent_id} is not here" if span.parent_id else ""
            lines.append(f"trace {span.trace_id}{dangling}")
            _draw_below(span, below, 1, lines)
    return "\n".join(lines)


def _draw_below(span: Span, below: Mapping[str, list[Span]], depth: int, lines: list[str]) -> None:
    lines.append("  " * depth + describe(span))
    for child in below.get(span.span_id, ()):
        _draw_below(child, below, depth + 1, lines)


def _by_parent(spans: Iterable[Span]) -> Mapping[str, list[Span]]:
    below: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        below[span.parent_id].append(span)
    return below


def describe(span: Span) -> str:
    """A span in one line."""
    parts = [f"{span.kind} {span.name!r} {span.status} {span.seconds * 1000:.0f} ms"]
    parts += [f"{key.rpartition('.')[2]}={span.attributes[key]}" for key in SHOWN if key in span.attributes]
    parts += [f"event {event.name}" for event in span.events]
    parts += [f"-> {link.span_id}" for link in span.links]
    parts.append(f"({span.service}, {span.scope}, {span.span_id})")
    return " ".join(parts)


def dangling(spans: Iterable[Span]) -> list[Span]:
    """Spans with a parent that is not among them."""
    everything = list(spans)
    known = {(span.trace_id, span.span_id) for span in everything}
    return [span for span in everything if span.parent_id and (span.trace_id, span.parent_id) not in known]


def assert_no_dangling_parents(spans: Iterable[Span]) -> None:
    """Every parent that a span names has arrived."""
    everything = list(spans)
    loose = dangling(everything)
    assert not loose, f"{len(loose)} spans with a parent that never arrived:\n{draw(everything)}"


def is_below(span: Span, ancestor: Span, spans: Iterable[Span]) -> bool:
    """Whether ``ancestor`` is the parent of ``span``, or its parent's parent, and so on."""
    parents = {other.span_id: other.parent_id for other in spans}
    at = span.parent_id
    while at:
        if at == ancestor.span_id:
            return True
        at = parents.get(at, "")
    return False
