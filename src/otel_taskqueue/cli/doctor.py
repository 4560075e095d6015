"""`otel-taskqueue doctor`: what a worker started here would find, and what would reach the collector."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from otel_taskqueue.cli import checks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from otel_taskqueue.cli.checks import Finding

_MARKS = {"ok": "  ok   ", "note": "  note ", "wrong": "  WRONG"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "--import",
        dest="module",
        metavar="MODULE",
        help="import the module of the application which sets OpenTelemetry up by code; "
        "without it the set-up is the one of opentelemetry-instrument",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 1 when something is wrong."""
    problem = _set_up(arguments.module)
    sections = {
        "Libraries": checks.libraries(),
        "OpenTelemetry": [*problem, *checks.sdk()],
        "Delivery": checks.delivery(),
        "Settings": checks.settings(),
    }
    found = {title: list(findings) for title, findings in sections.items()}
    for title, findings in found.items():
        print(title)
        print("\n".join(f"{_MARKS[finding.level]}  {finding.text}" for finding in findings))
    wrong = sum(finding.level == "wrong" for findings in found.values() for finding in findings)
    print(f"\n{wrong} wrong." if wrong else "\nNothing is wrong.")
    checks.forget_exit_handlers()
    return 1 if wrong else 0


def _set_up(module: str | None) -> Iterable[Finding]:
    """Let the process become what a worker would be; nothing of it is exported."""
    if module is None:
        return checks.auto_instrument()
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  (as `python -m` and Celery's -A do)
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001  (the application's code may raise anything)
        return [checks.Finding("wrong", f"importing {module} failed: {type(error).__name__}: {error}")]
    return [checks.Finding("ok", f"set up by importing {module}")]
