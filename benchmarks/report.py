"""The table in Markdown: what was measured, the budget, and whether it is kept."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.workers import Round, median

Costs = Mapping[str, Mapping[str, float]]  # row -> subject -> cost of one operation
_PACKAGES = ("celery", "kombu", "rq", "redis", "opentelemetry-sdk", "opentelemetry-instrumentation-celery")
_MIB = 2**20
_FLAT = 1.0


def operations(rows: Sequence[Row], costs: Costs, unit: str, *, judged: bool) -> str:
    """The rows in instructions (or ns): all of bare, the extra of the others, ours against the floor."""
    head = ("operation", "bare", "floor", "official", "ours", "ours / floor", "budget", "verdict")
    lines = [_cells(row, costs, judged=judged) for row in rows if row.name in costs]
    return f"Thousand {unit} for one operation; all but bare: what is added to bare.\n\n{table(head, lines)}"


def _cells(row: Row, costs: Costs, *, judged: bool) -> tuple[str, ...]:
    found = costs[row.name]
    measure = costs.get(row.floor_of or row.name, {})
    ratio = None
    if {"bare", "floor"} <= set(measure) and {"bare", "ours"} <= set(found):
        ratio = (found["ours"] - found["bare"]) / (measure["floor"] - measure["bare"])
    return (
        row.title,
        _thousand(found.get("bare")),
        *(_extra(found, subject) for subject in ("floor", "official", "ours")),
        f"{ratio:.2f}" if ratio is not None else "-",
        f"{row.budget:.1f}" if row.budget is not None else "-",
        verdict(ratio if judged else None, row.budget),
    )


def prefork(found: Mapping[str, Sequence[Round]]) -> str:
    """Throughput and CPU of the MainProcess."""
    bare_speed, bare_cpu = (median(found["bare"], what) for what in ("per_second", "main_cpu"))
    lines: list[tuple[str, ...]] = []
    for subject, rounds in found.items():
        speed, cpu = (median(rounds, what) for what in ("per_second", "main_cpu"))
        share, more = speed / bare_speed, cpu / bare_cpu - 1
        judged = subject == "ours"
        lines.append(
            (
                subject,
                f"{speed:.0f} ({_spread([one.per_second for one in rounds])})",
                f"{share:.0%}" + (f", at least 85 %: {verdict(-share, -0.85)}" if judged else ""),
                f"{cpu * 1e6:.0f} ({_spread([one.main_cpu * 1e6 for one in rounds])})",
                f"{more:+.0%}" + (f", at most +15 %: {verdict(more, 0.15)}" if judged else ""),
            )
        )
    head = (
        "subject",
        "jobs per second (range)",
        "of bare",
        "µs of MainProcess CPU per job (range)",
        "over bare",
    )
    return table(head, lines)


def rq_fork(found: Mapping[str, Sequence[Round]]) -> str:
    """CPU of worker and work-horses."""
    bare = median(found["bare"], "main_cpu")
    lines: list[tuple[str, ...]] = []
    for subject, rounds in found.items():
        cpu = median(rounds, "main_cpu")
        more = (cpu - bare) * 1e3
        text = f"{more:+.1f} ms" + (f", at most +4 ms: {verdict(more, 4.0)}" if subject == "ours" else "")
        lines.append((subject, f"{cpu * 1e3:.1f} ({_spread([one.main_cpu * 1e3 for one in rounds])})", text))
    return table(("subject", "ms of CPU per job, work-horse included (range)", "over bare"), lines)


def memory(found: Mapping[str, tuple[int, int]], between: int) -> str:
    """Resident memory after few and after many operations."""
    lines: list[tuple[str, ...]] = []
    for subject, (few, many) in found.items():
        grown = f"{(many - few) / between:.1f}"
        if subject == "ours":
            grown += f": {verdict((many - few) / _MIB, _FLAT)}"
        lines.append((subject, f"{few / _MIB:.1f} MiB", f"{many / _MIB:.1f} MiB", grown))
    return table(
        ("subject", "at first", f"{between:,} later", "bytes per operation (flat: below 1 MiB)"), lines
    )


def verdict(figure: float | None, limit: float | None) -> str:
    """Within or over; nothing where there is no limit."""
    if figure is None or limit is None:
        return "-"
    return "within" if figure <= limit else "**over**"


def machine() -> str:
    """What it was measured on, without a name."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_ = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({model}), {memory_:.0f} GiB, {platform.system()} {_kernel()}, "
        f"Python {platform.python_version()}; {packages}. Load averages at the end: {load}."
    )


def _kernel() -> str:
    """Version and patch level; what follows may name the place."""
    return ".".join(platform.release().split(".")[:2])


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _thousand(value: float | None) -> str:
    return f"{value / 1000:.0f}" if value is not None else "-"


def _extra(found: Mapping[str, float], subject: str) -> str:
    return f"{(found[subject] - found['bare']) / 1000:+.0f}" if {subject, "bare"} <= set(found) else "-"


def _spread(values: Sequence[float]) -> str:
    digits = 0 if max(values) >= 100 else 1
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"
