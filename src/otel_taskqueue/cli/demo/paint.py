"""A trace as text: who enqueued, which attempts there were, how each ended, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from otel_taskqueue import semconv
from otel_taskqueue.semconv import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_taskqueue.cli.demo.harvest import LogLine, Span
    from otel_taskqueue.cli.demo.tree import Node, Trace

_OUTCOME_WIDTH = 10
_TOOK_WIDTH = 9
_BAR_WIDTH = 26
_WIDTH_FOR_BAR = 100
_MAX_WRAPPED = 3
_STYLES: dict[str, str] = {
    Outcome.SUCCESS: "green",
    Outcome.RETRY: "yellow",
    Outcome.REVOKED: "yellow",
    Outcome.EXPIRED: "yellow",
    Outcome.IGNORED: "yellow",
}
_LIBRARIES = ("celery.", "rq.")
_LEVELS = {"WARN": "yellow", "ERRO": "red", "CRIT": "red", "FATA": "red"}


class Symbols(NamedTuple):
    """The characters to draw with."""

    fork: str = "├─ "
    last: str = "└─ "
    pipe: str = "│  "
    good: str = "✔"
    again: str = "↻"
    bad: str = "✘"
    bar: str = "━"
    tick: str = "╸"
    log: str = "·"
    ellipsis: str = "…"


UNICODE = Symbols()
ASCII = Symbols("|- ", "`- ", "|  ", "+", "~", "x", "=", "-", ".", "~")


@dataclass(frozen=True, slots=True)
class Painter:
    """Draws one trace; ``width`` in columns."""

    trace: Trace
    width: int
    symbols: Symbols = UNICODE

    def lines(self) -> Iterator[Text]:
        """The whole tree, headed by the names of the columns."""
        yield self._with_cells(Text(), Text("ended"), "took", self._scale())
        for root in self.trace.roots:
            yield from self._node(root, "", "", parent=None)

    def _node(self, node: Node, guide: str, below: str, parent: Node | None) -> Iterator[Text]:
        left = Text.assemble((guide, "dim"), _label(node, parent))
        took = seconds(node.span.end - node.span.start)
        yield self._with_cells(left, self._outcome(node), took, self._bar(node.span))
        inner = below + (self.symbols.pipe if node.children else "   ")
        for reason in _reasons(node):
            yield from self._wrapped(inner, Text(reason, _style(node)))
        for line in self._logs(node.logs):
            yield self._cut(Text.assemble((inner, "dim"), line), self.width)
        for child in node.children:
            is_last = child is node.children[-1]
            fork, further = (self.symbols.last, "   ") if is_last else (self.symbols.fork, self.symbols.pipe)
            yield from self._node(child, below + fork, below + further, node)

    def _with_cells(self, left: Text, outcome: Text, took: str, bar: Text) -> Text:
        room = self.width - _OUTCOME_WIDTH - _TOOK_WIDTH - 3
        room -= _BAR_WIDTH + 2 if self._has_bar else 0
        left = self._cut(left, room)
        left.pad_right(room - left.cell_len)
        outcome.pad_right(_OUTCOME_WIDTH - outcome.cell_len)
        cells = Text.assemble(left, " ", outcome, (f" {took:>{_TOOK_WIDTH}}", "cyan"))
        return Text.assemble(cells, "  ", bar) if self._has_bar else cells

    def _cut(self, text: Text, room: int) -> Text:
        if text.cell_len > room:
            text.truncate(room - 1)
            text.append(self.symbols.ellipsis)
        return text

    def _wrapped(self, guide: str, text: Text) -> Iterator[Text]:
        from rich.console import Console  # noqa: PLC0415  (only wraps)

        console = Console(width=self.width)
        wrapped = text.wrap(console, max(20, self.width - len(guide) - 2))
        for number, part in enumerate(wrapped[:_MAX_WRAPPED]):
            yield Text.assemble((guide, "dim"), "" if number == 0 else "  ", part)

    @property
    def _has_bar(self) -> bool:
        return self.width >= _WIDTH_FOR_BAR

    def _scale(self) -> Text:
        whole = seconds(self.trace.end - self.trace.start)
        return Text("0" + whole.rjust(_BAR_WIDTH - 1), "dim")

    def _bar(self, span: Span) -> Text:
        whole = max(1, self.trace.end - self.trace.start)
        begin = min(_BAR_WIDTH - 1, (span.start - self.trace.start) * _BAR_WIDTH // whole)
        length = (span.end - span.start) * _BAR_WIDTH // whole
        drawn = self.symbols.bar * length or self.symbols.tick
        return Text(" " * begin + drawn, "red" if span.is_error else "blue")

    def _outcome(self, node: Node) -> Text:
        outcome = node.outcome
        if outcome is None:
            return Text(f"{self.symbols.bad} error", "red") if node.span.is_error else Text()
        special = {
            Outcome.SUCCESS.value: self.symbols.good,
            Outcome.RETRY.value: self.symbols.again,
        }
        symbol = special.get(outcome, self.symbols.bad)
        return Text(f"{symbol} {outcome}", f"bold {_style(node)}")

    def _logs(self, logs: Sequence[LogLine]) -> Iterator[Text]:
        """Each line of the application; what the libraries say about every job is counted only."""
        routine = [line.logger for line in logs if _is_routine(line)]
        for line in logs:
            if not _is_routine(line):
                yield self._log(line)
        if routine:
            lines = f"{len(routine)} routine line" + "s" * (len(routine) > 1)
            yield Text(f"{self.symbols.log} {lines} of {', '.join(sorted(set(routine)))}", "dim")

    def _log(self, line: LogLine) -> Text:
        clock = datetime.fromtimestamp(line.time / 1e9).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = (f" {line.severity:<5.5} ", _LEVELS.get(line.severity[:4].upper(), "dim"))
        body = line.body.splitlines()[0] if line.body else ""
        dim = "dim" * line.logger.startswith(_LIBRARIES)  # what the application says stands out
        return Text.assemble((f"{self.symbols.log} {clock}", "dim"), level, (body, dim))


def _is_routine(line: LogLine) -> bool:
    return line.logger.startswith(_LIBRARIES) and line.severity[:4].upper() in {"INFO", "DEBU"}


def _label(node: Node, parent: Node | None) -> Text:
    """What stands before the columns: the name, and dimmed what else a person asks for."""
    if node.operation == semconv.OPERATION_SEND:
        return Text.assemble((node.span.name, "bold"), (f"  {_destination(node, parent)}", "dim"))
    if node.operation == semconv.OPERATION_PROCESS:
        name = f"attempt {node.span.attributes.get(semconv.TASK_ATTEMPT)}"
        if parent is None or parent.task != node.task:
            name += f" of {node.task}"
        return Text.assemble((name, "bold"), (f"  {_circumstances(node)}", "dim"))
    if parent is None or node.span.service != parent.span.service:
        return Text.assemble((node.span.name, "bold"), (f"  in {node.span.service}", "dim"))
    return Text(node.span.name)


def _destination(node: Node, parent: Node | None) -> str:
    if parent is not None and parent.outcome == Outcome.RETRY and parent.task == node.task:
        return "for the next attempt"
    return f"to {library_of(node)} queue {node.span.attributes.get(semconv.MESSAGING_DESTINATION_NAME)}"


def library_of(node: Node) -> str:
    """The queue library's name as it writes itself."""
    system = str(node.span.attributes.get(semconv.SYSTEM))
    return {semconv.CELERY: "Celery", semconv.RQ: "RQ"}.get(system, system)


def _circumstances(node: Node) -> str:
    attributes = node.span.attributes
    waited, pid = attributes.get(semconv.TASK_WAIT), attributes.get(semconv.PROCESS_PID)
    said = [f"in {node.span.service}"]
    if pid is not None:
        said.append(f"pid {pid}")
    if waited is not None:
        said.append(f"waited {seconds(int(float(waited) * 1e9))}")
    return ", ".join(said)


def _style(node: Node) -> str:
    return _STYLES.get(node.outcome or "", "red" if node.span.is_error else "")


def _reasons(node: Node) -> Iterator[str]:
    """Why the attempt ended as it did, in words."""
    retry = node.span.event(semconv.EVENT_RETRY)
    if retry is not None:
        delay = retry.attributes.get(semconv.RETRY_DELAY)
        when = f"again in {float(delay):g} s" if delay else "again at once"
        yield f"{when}: {retry.attributes.get(semconv.RETRY_REASON) or 'no reason given'}"
    attributes = node.span.attributes
    if semconv.EXIT_SIGNAL in attributes:
        yield f"its process was killed by {attributes[semconv.EXIT_SIGNAL]}"
    elif semconv.EXIT_CODE in attributes:
        yield f"its process left with exit code {attributes[semconv.EXIT_CODE]}"
    exception = node.span.event(semconv.EVENT_EXCEPTION)
    if exception is not None:
        kind = str(exception.attributes.get(semconv.EXCEPTION_TYPE)).rpartition(".")[2]
        yield f"{kind}: {exception.attributes.get(semconv.EXCEPTION_MESSAGE)}"
    elif node.span.is_error and node.span.status:
        yield node.span.status


def seconds(nanoseconds: int) -> str:
    """A duration as people say it: ``0.9 ms``, ``12 ms``, ``1.25 s``."""
    milliseconds = nanoseconds / 1e6
    if milliseconds < 10:  # noqa: PLR2004  (one digit more where it matters)
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"  # noqa: PLR2004
