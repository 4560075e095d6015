"""`otel-taskqueue demo`: a shop, its workers and a small collector, for a few seconds."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_NEEDED = {
    "celery": "the Celery library",
    "rq": "the RQ library",
    "redis": "the Redis client",
    "rich": "what draws the trees",
    "opentelemetry.sdk": "the OpenTelemetry SDK",
    "opentelemetry.distro": "what `opentelemetry-instrument` sets up",
    "opentelemetry.exporter.otlp.proto.http": "the OTLP exporter",
    "opentelemetry.proto": "the OTLP messages",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "--save",
        metavar="FILE",
        help="also write what is shown to FILE (.svg, .html or plain text)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when every attempt has arrived with the outcome it had."""
    missing = [f"{name} ({what})" for name, what in _NEEDED.items() if not _is_there(name)]
    for piece in missing:
        print(f"{piece} is missing: pip install 'otel-taskqueue[demo]'", file=sys.stderr)
    if missing:
        return 1
    from otel_taskqueue.cli.demo.play import play  # noqa: PLC0415  (imports what may be missing)

    return play(arguments.save)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is not there
        return False
