"""`python -m benchmarks`: measure, and write the table in Markdown. See docs/benchmarks.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks import report, workers
from benchmarks.counting import ROOT, Drivers, Load, Meter, NotMeasuredError, default_meter, environment
from benchmarks.rows import BATCHES, CELERY, HEAVY, NAMES, NORMAL, ROWS, SMOKE, Row
from support.servers import RedisServer

_SUBJECTS = ("bare", "ours", "official")
_failed: list[str] = []


def main() -> None:
    """Run what was asked for."""
    arguments = _arguments()
    chosen = arguments.rows.split(",") if arguments.rows else list(NAMES)
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        sys.exit(f"no such rows: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, _sink() as endpoint:
        redis = RedisServer(Path(folder))
        try:
            meter = Meter(arguments.meter, redis.url(), endpoint)
            parts = [f"Measured on {report.machine()}", *_parts(chosen, arguments, meter)]
        finally:
            redis.stop()
    text = "\n\n".join(parts) + "\n"
    if arguments.output:
        Path(arguments.output).write_text(text, encoding="utf-8")
        _progress(f"written: {arguments.output}")
    else:
        print(text, end="")
    if _failed:
        sys.exit(f"not measured: {', '.join(_failed)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", help=f"some of {', '.join(NAMES)}; all without it")
    parser.add_argument("--subjects", default=",".join(CELERY), help="of the operations; all without it")
    parser.add_argument("--meter", choices=["callgrind", "cpu"], default=default_meter())
    parser.add_argument("--output", help="file for the table; standard output without it")
    parser.add_argument("--parallel", type=int, default=2, help="processes that count instructions at once")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of real workers")
    parser.add_argument("--jobs", type=int, default=4000, help="jobs of a round of prefork")
    parser.add_argument("--rq-jobs", type=int, default=150, help="jobs of a round of RQ")
    parser.add_argument("--memory", type=int, default=50_000, help="operations of the row memory")
    parser.add_argument("--smoke", action="store_true", help="so few operations that figures mean nothing")
    return parser.parse_args()


def _parts(chosen: list[str], arguments: argparse.Namespace, meter: Meter) -> Iterator[str]:
    rows = [row for row in ROWS if row.name in chosen]
    if rows:
        yield "## Operations"
        costs = _operations(rows, arguments, meter)
        judged = meter.name == "callgrind" and not arguments.smoke
        yield report.operations(rows, costs, meter.unit, judged=judged)
    if "prefork" in chosen:
        yield "## Celery worker, prefork -c 2, Redis, OTLP/HTTP"
        run, jobs = workers.prefork, arguments.jobs
        yield report.prefork(workers.medians(run, _SUBJECTS, jobs, arguments.rounds, meter, _progress))
    if "rq-fork" in chosen:
        yield "## RQ worker that forks for each job, OTLP/HTTP"
        run, jobs = workers.rq_fork, arguments.rq_jobs
        yield report.rq_fork(workers.medians(run, _SUBJECTS[:2], jobs, arguments.rounds, meter, _progress))
    if "memory" in chosen:
        yield "## Memory: Celery execute, spans and metrics, in one process"
        yield report.memory(_memory(arguments, meter), arguments.memory)


def _operations(rows: list[Row], arguments: argparse.Namespace, meter: Meter) -> dict[str, dict[str, float]]:
    loads = [
        (row, _load(row, subject, smoke=arguments.smoke))
        for row in rows
        for subject in row.subjects
        if subject in arguments.subjects.split(",")
    ]
    found: dict[str, dict[str, float]] = {}
    count = arguments.parallel
    with Drivers(meter, count) as drivers, ThreadPoolExecutor(count) as pool:
        costs = pool.map(lambda pair: _timed(drivers, pair[1], meter.unit), loads)
        for (row, load), figure in zip(loads, costs, strict=True):
            if figure is not None:
                found.setdefault(row.name, {})[load.subject] = figure
    return found


def _load(row: Row, subject: str, *, smoke: bool) -> Load:
    short, long = HEAVY.get(row.operation, NORMAL)
    if row.otlp and subject != "bare":
        short, long = BATCHES
    if smoke:
        short, long = SMOKE
    return Load(row.operation, subject, short, long, row.unsampled, row.metrics, row.otlp)


def _timed(drivers: Drivers, load: Load, unit: str) -> float | None:
    """One figure; a load that fails leaves its cell empty and the others measured."""
    began = time.monotonic()
    try:
        figure = drivers.cost(load)
    except NotMeasuredError as error:
        _progress(f"not measured: {error}")
        _failed.append(load.name)
        return None
    _progress(f"{load.name}: {figure:,.0f} {unit}, in {time.monotonic() - began:.0f} s")
    return figure


def _memory(arguments: argparse.Namespace, meter: Meter) -> dict[str, tuple[int, int]]:
    """The same process after a tenth, and after a tenth and all, of the operations."""
    few, many = max(2, arguments.memory // 10), arguments.memory
    found: dict[str, tuple[int, int]] = {}
    for subject in _SUBJECTS:
        loads = (Load("celery-execute", subject, 1, size, metrics=True) for size in (few, few + many))
        with Drivers(Meter("cpu", meter.redis, meter.endpoint), 1) as drivers:
            first, last = (drivers.resident(load) for load in loads)
        found[subject] = (first, last)
        _progress(f"memory {subject}: {first:,} and {last:,} bytes")
    return found


@contextmanager
def _sink() -> Iterator[str]:
    """A process that takes OTLP, by its address."""
    words = [sys.executable, "-m", "benchmarks.sink"]
    with subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _progress(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
