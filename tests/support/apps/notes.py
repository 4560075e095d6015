"""What a job tells the test beside telemetry: who ran it, under which span.

One line per note, appended in one write to a file per job, so that a SIGKILL right after
loses nothing.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opentelemetry import baggage, trace

DIRECTORY = "TASKQUEUE_TEST_NOTES"


def note(job_id: str, what: str, **extra: Any) -> None:
    """Append a line about ``job_id``."""
    context = trace.get_current_span().get_span_context()
    line = {
        "what": what,
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "thread": threading.get_ident(),
        "time": time.time_ns(),
        "trace_id": f"{context.trace_id:032x}" if context.is_valid else "",
        "span_id": f"{context.span_id:016x}" if context.is_valid else "",
        "baggage": dict(baggage.get_all()),
        **extra,
    }
    path = Path(os.environ[DIRECTORY]) / f"{job_id}.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps(line, default=str).encode() + b"\n")
    finally:
        os.close(descriptor)


def read_notes(directory: Path, job_id: str) -> list[Mapping[str, Any]]:
    """The notes of ``job_id`` in the order they were written."""
    path = directory / f"{job_id}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def own_notes(job_id: str, what: str) -> list[Mapping[str, Any]]:
    """The notes ``what`` of a job, asked by the job itself: how many attempts came before."""
    everything = read_notes(Path(os.environ[DIRECTORY]), job_id)
    return [entry for entry in everything if entry["what"] == what]
