"""The command `otel-taskqueue`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from otel_taskqueue.cli import demo, doctor, failures, metrics, observe, settings, spans
from otel_taskqueue.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="otel-taskqueue", description="OpenTelemetry for Celery and RQ.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    demo.add_arguments(commands.add_parser("demo", help="show one trace from enqueue to the last attempt"))
    doctor.add_arguments(commands.add_parser("doctor", help="what a worker started here would find"))
    observe.add_arguments(commands.add_parser("observe", help="watch queues, workers and schedules"))
    settings.add_arguments(commands.add_parser("settings", help="every option with its value here"))
    spans.add_arguments(commands.add_parser("spans", help="every span and attribute that is emitted"))
    metrics.add_arguments(commands.add_parser("metrics", help="every metric that is emitted"))
    failures.add_arguments(commands.add_parser("failures", help="what kind of failure an exception is"))
    return parser
