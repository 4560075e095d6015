"""Whether each line about a job was shipped once and names its attempt, and the table that says so."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.logs_lab import ATTEMPT, MESSAGE_ID, Case, Speaker
from support.otlp.model import LogLine

MATRIX = "OTEL_TASKQUEUE_LOG_MATRIX"
ATTEMPTS = (1, 2)
#: What the job has set itself in its line of the kind `extra`: it stays.
OWN = (MESSAGE_ID, "taskqueue.task.name", "taskqueue.worker.name", "job_id")


class Matrix:
    """Case x logger -> how often each line arrived, and whether it named its attempt."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._rows: dict[str, dict[str, str]] = {}

    def add(self, case: Case, kind: str, count: int, *, ids: bool) -> None:
        """One field: 1 means that each text of this kind arrived once."""
        said = f"{count}{'' if ids else ', ids wrong'}"
        known = self._rows.setdefault(f"{case.name} ({case.pool})", {}).get(kind)
        if known is None or known == "1":
            self._rows[f"{case.name} ({case.pool})"][kind] = said

    def write(self) -> None:
        """Append the table to the file that is asked for."""
        path = os.environ.get(MATRIX)
        if not path or not self._rows:
            return
        kinds = list(dict.fromkeys(kind for row in self._rows.values() for kind in row))
        text = [f"\n## {self._room}\n\n| case | {' | '.join(kinds)} |\n|{' --- |' * (len(kinds) + 1)}\n"]
        for name, row in self._rows.items():
            text.append(f"| {name} | {' | '.join(row.get(kind, '-') for kind in kinds)} |\n")
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(text)


@dataclass(frozen=True, slots=True)
class JobLines:
    """The lines about a job with two attempts; each method tells in words what is wrong with some of them."""

    speaker: Speaker
    job_id: str
    matrix: Matrix

    def of_the_job(self, kinds: Sequence[str]) -> Iterator[str]:
        """Those that its code has written."""
        for kind in kinds:
            for attempt in ATTEMPTS:
                text = f"{kind} line of {self.job_id} attempt {attempt}"
                found = [line for line in self.speaker.lines(text) if line.body == text]
                yield from self.of_attempt(kind, attempt, found)

    def of_the_parent(self, kind: str, text: str) -> Iterator[str]:
        """Those with which the worker's parent announces an attempt, before there is a span."""
        for attempt in ATTEMPTS:
            found = [line for line in self.speaker.lines(text) if line.attributes.get(ATTEMPT) == attempt]
            yield from self.of_attempt(kind, attempt, found, in_span=False)

    def of_attempt(
        self, kind: str, attempt: int, lines: Sequence[LogLine], *, in_span: bool = True
    ) -> Iterator[str]:
        """Those that were found: it has to be one, with the ids of the attempt."""
        span = self.speaker.attempt(self.job_id, attempt)
        expected = self._ids(attempt) | (dict.fromkeys(OWN, "mine") if kind == "extra" else {})
        ids = all(
            {key: line.attributes.get(key) for key in expected} == expected
            and line.trace_id == span.trace_id
            and (not in_span or line.span_id == span.span_id)
            for line in lines
        )
        self.matrix.add(self.speaker.case, kind, len(lines), ids=ids)
        if len(lines) != 1 or not ids:
            seen = [(line.attributes, line.trace_id == span.trace_id) for line in lines]
            yield f"{kind} {attempt}: {len(lines)} {seen}"

    def _ids(self, attempt: int) -> dict[str, object]:
        room = self.speaker.case.room
        return {
            "messaging.system": "redis",
            "messaging.destination.name": self.speaker.queue,
            MESSAGE_ID: self.job_id,
            "taskqueue.system": room,
            "taskqueue.task.name": f"support.apps.logs_{room}.chat",
            ATTEMPT: attempt,
            "taskqueue.worker.name": self.speaker.worker_name,
        }
