"""`otel-taskqueue failures`: what kind of failure which exception is, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_taskqueue import meters, semconv
from otel_taskqueue.cli import document
from otel_taskqueue.core.category_table import PATTERNS, ROWS
from otel_taskqueue.core.failure import CATEGORIES
from otel_taskqueue.semconv import Category
from otel_taskqueue.settings import OPTIONS

if TYPE_CHECKING:
    import argparse

_COMMAND = "otel-taskqueue failures"
_RULES = OPTIONS["failure_rules"]

MEANINGS = {
    Category.TIMEOUT: "It took too long: a time limit of the job, or of something that it waited for.",
    Category.CONNECTION: "The other side could not be reached, or the connection broke.",
    Category.RESOURCE: "Memory, disk, descriptors, connections of a pool or of a server are used up.",
    Category.KILLED: "The process was killed, crashed or left.",
    Category.DEPENDENCY: "Another service or database answered, with a failure of its own.",
    Category.DATA: "What the job was given or found cannot be used: invalid, missing, twice there.",
    Category.CODE: "A bug, or a mistake in the set-up: names, types, permissions, credentials, SQL.",
    Category.RATE_LIMIT: "Somebody was asked too often.",
    Category.CANCELLED: "The work was cancelled from inside of the program.",
    Category.UNKNOWN: "None of these can be told.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    document.add_page(parser, _COMMAND, markdown)


def markdown() -> str:
    """The page docs/failures.md."""
    meanings = [(f"`{kind.value}`", text) for kind, text in MEANINGS.items()]
    return f"""\
<!-- Made by `{_COMMAND} --markdown`; do not edit. -->
# Failures

Each attempt that failed says what kind of failure it was: `{semconv.FAILURE_CATEGORY}` on its span, on
the event `{semconv.EVENT_RETRY}`, on the library's log line about its end, on the log record of its
exception and on the metric `{meters.RUNS.name}`.

{document.markdown_table(("category", "meaning"), meanings)}

Attempts that did not fail have none: successes, revoked, expired and ignored ones, a message that goes
back to the queue, a retry that was asked for without an exception.

## How it is found

1. An attempt whose process the kernel killed for its memory is `{Category.RESOURCE.value}`.
2. Your rules, see below.
3. The exception's class in the table below, the most specific class first. Classes are known by name; no
   library is imported.
4. Where the table is vague (≈), and for classes which it does not have: what the exception carries. HTTP
   statuses (429 is `rate_limit`, 408 `timeout`, 4xx `data`, 5xx `dependency`), throttling codes of cloud
   services, gRPC codes, `errno`, SQLSTATE, MySQL's error numbers.
5. What is behind it: SQLAlchemy's `orig`, a `reason`, `__cause__`, the first of a group, a first argument
   that is an exception, and what was being handled (`__context__`). A bug that was caught and turned into
   another exception counts as that exception.
6. The outcome, where no exception says more: {_outcomes()}.

## Your rules

`{_RULES.variable}`, or `failure_rules=` of `instrument()`, names classes by
`module.qualname` (builtins bare) with `*` and `?` as wildcards. The most specific class of an exception is
asked first, and the first rule that fits it wins.

```sh
export {_RULES.variable}='shop.errors.PaymentDown=dependency,vendor.*=data'
```

```python
CeleryInstrumentor().instrument(failure_rules={{PaymentDown: "dependency", "vendor.*": "data"}})
```

## The table

A row also serves the classes that inherit from those it names.

{document.markdown_table(("module", "category", "classes"), _rows())}

Classes of any other library go by their names, vaguely:

{document.markdown_table(("name", "category"), [(f"`{name}`", f"`{kind.value}`") for name, kind in PATTERNS])}
"""


def _rows() -> list[tuple[str, ...]]:
    merged: dict[tuple[str, str, bool], list[str]] = {}
    for row in ROWS:
        key = (row.module or "builtins", row.category.value, row.vague)
        merged.setdefault(key, []).extend(row.names.split())
    return [
        (f"`{module}`", f"{'≈ ' if is_vague else ''}`{kind}`", ", ".join(names))
        for (module, kind, is_vague), names in merged.items()
    ]


def _outcomes() -> str:
    return ", ".join(f"{outcome.value} is `{kind.value}`" for outcome, kind in CATEGORIES.items())
