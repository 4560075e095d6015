"""The benchmarks run: so few operations that their figures mean nothing, and nothing is judged by them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FIGURE = r"[+-]?\d+"
Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module which starts the drivers."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import counting

    return counting


@pytest.fixture
def bench(counting: ModuleType) -> Bench:
    """One run of the program, as `make bench` runs it."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", "--smoke", "--meter", "cpu", *words],
            cwd=ROOT,
            env=counting.environment(),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("row", "title", "subjects"),
    [
        ("celery-execute-otlp", "Celery execute, spans and metrics, OTLP/HTTP", 4),
        ("celery-fail", "Celery execute, task that raises, spans", 4),
        ("celery-enqueue-off", "Celery enqueue, sampled off", 4),
        ("rq-simple-metrics", "RQ SimpleWorker job, spans and metrics", 3),
    ],
)
def test_every_subject_of_a_row_makes_its_spans_and_has_a_figure(
    bench: Bench, row: str, title: str, subjects: int
) -> None:
    """A subject that is not in force would be cheap: each driver counts the spans that it exported."""
    done = bench("--rows", row)

    assert 0 == done.returncode, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith(f"| {title} |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert subjects == len([cell for cell in cells[1:5] if re.fullmatch(FIGURE, cell)]), done.stdout
    assert "-" == cells[-1]
    assert subjects == done.stderr.count(" ns of CPU, in ")


def test_a_subject_that_makes_no_spans_has_no_figure(counting: ModuleType) -> None:
    """What is not in force costs nothing: that would be the best of all figures."""
    counting.check_spans(counting.Load("celery-execute", "bare", 2, 6), 0)
    counting.check_spans(counting.Load("celery-execute", "ours", 2, 6, unsampled=True), 0)
    counting.check_spans(counting.Load("celery-execute", "ours", 2, 6), 8)

    with pytest.raises(counting.NotMeasuredError, match="0 spans instead of 8"):
        counting.check_spans(counting.Load("celery-execute", "ours", 2, 6), 0)


def test_real_workers_are_measured(bench: Bench) -> None:
    """Celery with two children, bare, ours and the official instrumentation in turn."""
    done = bench("--rows", "prefork", "--rounds", "1", "--jobs", "60")

    assert 0 == done.returncode, done.stderr
    for subject in ("bare", "ours", "official"):
        assert re.search(rf"^\| {subject} \| \d+ \(", done.stdout, re.MULTILINE), done.stdout


def test_a_row_that_is_not_there_is_an_error(bench: Bench) -> None:
    """With the names of those that are."""
    done = bench("--rows", "celery-exekute")

    assert 1 == done.returncode
    assert "no such rows: celery-exekute; there are celery-execute," in done.stderr
