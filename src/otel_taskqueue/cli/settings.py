"""`otel-taskqueue settings`: every option with its value here, where that came from, what it means."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from otel_taskqueue.cli import document
from otel_taskqueue.settings import OPTIONS, PREFIX, Settings

if TYPE_CHECKING:
    import argparse

_COMMAND = "otel-taskqueue settings"
_LONGEST_VALUE = 40

_STANDARD = [
    (
        "OTEL_SDK_DISABLED",
        "`true`: nothing is instrumented.",
    ),
    (
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        "`otel_taskqueue_celery`, `otel_taskqueue_rq`: that one stays out.",
    ),
    (
        "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN",
        "Where exceptions go: span events without it, log records with `logs`, both with `logs/dup`.",
    ),
    (
        "OTEL_PROPAGATORS",
        "What travels with a message; `tracecontext,baggage` without it.",
    ),
    (
        "OTEL_BSP_SCHEDULE_DELAY",
        "How long (ms) finished spans wait in the worker's parent. A parent that is killed loses those.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "How long (s) the exporter retries while the collector is away.",
    ),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("--markdown", action="store_true", help="print the page of the documentation")
    parser.add_argument("--check", metavar="FILE", help="fail when FILE is not that page")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the options, or check the documentation."""
    if arguments.check:
        return document.check(arguments.check, markdown(), _COMMAND)
    text = markdown() if arguments.markdown else plain(shutil.get_terminal_size((110, 24)).columns)
    print(text, end="" if arguments.markdown else "\n")
    return 0


def plain(width: int) -> str:
    """The options as they are in this environment."""
    loaded = Settings.load()
    rows: list[tuple[str, ...]] = []
    for option in OPTIONS.values():
        value = option.kind.show(getattr(loaded, option.name)) or "(none)"
        meaning = option.meaning.replace("`", "")
        row = (option.variable, _cut(value), loaded.source_of(option.name), meaning)
        rows.append(row)
    return document.plain_table(("variable", "value", "from", "meaning"), rows, width)


def markdown() -> str:
    """The page docs/settings.md; the environment does not change it."""
    rows = [
        (
            f"`{option.variable}`<br>`{option.name}`",
            f"`{option.kind.show(option.default)}`" if option.default != () else "none",
            option.kind.allowed,
            option.meaning,
        )
        for option in OPTIONS.values()
    ]
    table = document.markdown_table(("variable and keyword", "default", "allowed", "meaning"), rows)
    standard = [(f"`{variable}`", meaning) for variable, meaning in _STANDARD]
    others = document.markdown_table(("variable", "meaning"), standard)
    return f"""\
<!-- Made by `{_COMMAND} --markdown`; do not edit. -->
# Settings

Each option is an environment variable `{PREFIX}...` and a keyword argument of
`otel_taskqueue.instrument(...)`, `CeleryInstrumentor().instrument(...)` and
`RQInstrumentor().instrument(...)`; the keyword wins. A value that cannot be used is one warning on the logger
`otel_taskqueue`, and the default. `{_COMMAND}` prints the values in force and where each came from.

{table}

In a list, `\\,` stands for a comma inside an item.

## Variables of OpenTelemetry that matter here

{others}
"""


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 3] + "..."
