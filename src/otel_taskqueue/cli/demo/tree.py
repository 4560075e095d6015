"""Spans and log lines put together: one tree for each trace, and what is missing in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_taskqueue import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from otel_taskqueue.cli.demo.harvest import LogLine, Span


@dataclass(slots=True)
class Node:
    """A span with what hangs below it, in the order of time."""

    span: Span
    children: list[Node] = field(default_factory=list["Node"])
    logs: list[LogLine] = field(default_factory=list["LogLine"])

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def operation(self) -> object:
        """``send``, ``process``, or None for a span that is not ours."""
        return self.span.attributes.get(semconv.MESSAGING_OPERATION_NAME)

    @property
    def task(self) -> object:
        """The name of the task, None for a span that is not ours."""
        return self.span.attributes.get(semconv.TASK_NAME)

    @property
    def outcome(self) -> str | None:
        """How the attempt ended, None for what is not an attempt."""
        outcome = self.span.attributes.get(semconv.TASK_OUTCOME)
        return None if outcome is None else str(outcome)


@dataclass(slots=True)
class Trace:
    """All that has one trace id; a root whose ``parent_id`` is set lost its parent."""

    trace_id: str
    roots: list[Node]

    def walk(self) -> Iterator[Node]:
        """All spans, depth first."""
        for root in self.roots:
            yield from root.walk()

    @property
    def start(self) -> int:
        """When the first span started (ns)."""
        return min(node.span.start for node in self.walk())

    @property
    def end(self) -> int:
        """When the last span ended (ns)."""
        return max(node.span.end for node in self.walk())

    @property
    def attempts(self) -> list[Node]:
        """The process spans, in the order of time."""
        found = [node for node in self.walk() if node.operation == semconv.OPERATION_PROCESS]
        return sorted(found, key=_start)


def traces(spans: Sequence[Span], logs: Iterable[LogLine]) -> list[Trace]:
    """One tree for each trace id, the oldest first; spans that arrived twice are there twice."""
    nodes = [Node(span) for span in spans]
    by_id = {(node.span.trace_id, node.span.span_id): node for node in nodes}
    roots: defaultdict[str, list[Node]] = defaultdict(list)
    for node in sorted(nodes, key=_start):
        parent = by_id.get((node.span.trace_id, node.span.parent_id))
        (roots[node.span.trace_id] if parent is None else parent.children).append(node)
    for line in sorted(logs, key=lambda line: line.time):
        if (line.trace_id, line.span_id) in by_id:
            by_id[line.trace_id, line.span_id].logs.append(line)
    return sorted((Trace(*item) for item in roots.items()), key=lambda trace: trace.start)


def problems(found: Sequence[Trace], expected: Mapping[str, Sequence[str]]) -> list[str]:
    """What is not as it should be: attempts missing or too many, parents missing, spans twice.

    Args:
        found: What arrived.
        expected: The outcomes of each task's attempts, in the order of time.
    """
    ended: defaultdict[str, list[str]] = defaultdict(list)
    for attempt in (attempt for trace in found for attempt in trace.attempts):
        ended[str(attempt.task)].append(attempt.outcome or "no outcome")
    said: list[str] = []
    for task in {**expected, **ended}:
        wanted, got = list(expected.get(task, ())), ended.get(task, [])
        if wanted != got:
            said.append(f"{task}: expected {_listed(wanted)}, arrived {_listed(got)}")
    lost = [root.span.name for trace in found for root in trace.roots if root.span.parent_id]
    said += [f"the parent of `{name}` did not arrive" for name in lost]
    ids = Counter(node.span.span_id for trace in found for node in trace.walk())
    return said + [f"span {span_id} arrived {count} times" for span_id, count in ids.items() if count > 1]


def _listed(outcomes: Sequence[str]) -> str:
    return ", ".join(outcomes) or "nothing"


def _start(node: Node) -> int:
    return node.span.start
