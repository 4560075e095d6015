"""What one operation costs: drivers run as processes of their own, below callgrind or by themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks import callgrind

ROOT = Path(__file__).parents[1]
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Meter:
    """How costs are counted: in instructions (``callgrind``) or in processor time (``cpu``, ns)."""

    name: str
    redis: str
    endpoint: str

    @property
    def unit(self) -> str:
        """What a cost is in."""
        return "instructions" if self.name == "callgrind" else "ns of CPU"


@dataclass(frozen=True, slots=True)
class Load:
    """Which operation of which subject, how often, under which pipeline."""

    operation: str
    subject: str
    short: int
    long: int
    unsampled: bool = False
    metrics: bool = False
    otlp: bool = False

    @property
    def name(self) -> str:
        """For progress."""
        flags = [name for name in ("unsampled", "metrics", "otlp") if getattr(self, name)]
        return " ".join([self.operation, self.subject, *flags])


class NotMeasuredError(RuntimeError):
    """The load has failed, or not made the spans that it should: its costs would be a lie."""


class Drivers:
    """Processes that measure, as many at once as there are of them; used by any number of threads."""

    def __init__(self, meter: Meter, count: int) -> None:
        self._meter = meter
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._idle: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        self._all = [self._start() for _ in range(count)]
        for process in self._all:
            self._idle.put(process)

    def __enter__(self) -> Drivers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._all:
            process.kill()
            process.wait()
        self._folder.cleanup()

    def cost(self, load: Load) -> float:
        """The cost of one operation, in the meter's unit."""
        answer = self._measure(load)
        costs = self._dumps(answer["pid"]) if self._meter.name == "callgrind" else answer["costs"]
        short, long = costs
        return (long - short) / (load.long - load.short)

    def resident(self, load: Load) -> int:
        """The resident memory of the process at its end, in bytes."""
        return int(self._measure(load)["rss"])

    def _start(self) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "benchmarks.driver"]
        if self._meter.name == "callgrind":
            out = f"--callgrind-out-file={self._folder.name}/out.%p"
            words = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", out, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, text=True)

    def _measure(self, load: Load) -> dict[str, Any]:
        meter = self._meter
        asked = {
            **dataclasses.asdict(load),
            "redis": meter.redis,
            "endpoint": meter.endpoint if load.otlp else None,
            "callgrind": meter.name == "callgrind",
        }
        process = self._idle.get()
        try:
            answer = _ask(process, asked)
        finally:
            self._idle.put(process)
        if "error" in answer or "costs" not in answer:
            raise NotMeasuredError(f"{load.name}: {answer.get('error', 'no answer')}")
        check_spans(load, answer["spans"])
        return answer

    def _dumps(self, pid: int) -> list[int]:
        """The totals of the dumps that the two loops made."""
        files = [Path(self._folder.name, f"out.{pid}.{number}") for number in (1, 2)]
        return [int(_TOTALS.findall(file.read_text("utf-8"))[-1]) for file in files]


def check_spans(load: Load, seen: int) -> None:
    """Raise when a subject was not in force: it would be cheap."""
    spans = load.short + load.long if load.subject != "bare" and not load.unsampled else 0
    if seen != spans:
        raise NotMeasuredError(f"{load.name}: {seen} spans instead of {spans}")


def default_meter() -> str:
    """Instructions where valgrind is installed and can be talked to."""
    return "callgrind" if shutil.which("valgrind") and callgrind.is_offered() else "cpu"


def environment() -> dict[str, str]:
    """Nothing of the person who runs it decides what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CELERY_"))}
    path = os.pathsep.join(str(ROOT / folder) for folder in ("src", ".", "tests"))
    return {**kept, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "C_FORCE_ROOT": "1"}


def _ask(process: subprocess.Popen[str], asked: dict[str, Any]) -> dict[str, Any]:
    """One load; the answer of the fork and the word of the driver that it is over, in any lines between."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    found: dict[str, Any] = {}
    for line in process.stdout:
        if line.startswith("{"):
            found.update(json.loads(line))
        if found.get("done"):
            break
    return found
