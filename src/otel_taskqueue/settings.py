"""Every option of the package, in one table; the only module which reads the environment.

The fields of `Settings` ARE the table: ``otel-taskqueue settings`` and ``docs/settings.md`` are
made from them. A value comes from a keyword argument, else from ``OTEL_PYTHON_TASKQUEUE_<NAME>``,
else it is the default. Nothing here raises: a value nobody can use is one warning and the default.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
import os
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

from otel_taskqueue.kinds import (
    BYTES,
    COUNT,
    PATH,
    PATTERNS,
    SECONDS,
    SECRETS,
    SHARE,
    SWITCH,
    WORDS,
    Kind,
    choice,
    rules,
    words,
)
from otel_taskqueue.semconv import Category

if TYPE_CHECKING:
    import re
    from collections.abc import Generator, Iterable

PREFIX = "OTEL_PYTHON_TASKQUEUE_"
_LANE = "OTEL_TASKQUEUE_RESULT_LANE"

Source = Literal["default", "environment", "keyword"]
T = TypeVar("T")

_logger = logging.getLogger("otel_taskqueue")


class Option(NamedTuple):
    """One row of the table."""

    name: str
    kind: Kind
    default: object
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable of this option."""
        return PREFIX + self.name.upper()


def _option(kind: Kind, meaning: str, *, default: T) -> T:
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one instrumentation; make one with `Settings.load`."""

    trace_style: Literal["parent", "link"] = _option(
        choice("parent", "link"),
        "`parent`: an attempt is a child of the span that enqueued it. "
        "`link`: it starts a trace of its own, linked to that span.",
        default="parent",
    )
    span_naming: Literal["task", "queue"] = _option(
        choice("task", "queue"),
        "What stands in span names: `process <task>`, or `process <queue>` as the conventions have it.",
        default="task",
    )
    excluded_tasks: tuple[str, ...] = _option(
        WORDS._replace(allowed="task names with * and ? as wildcards, separated by commas"),
        "Tasks without spans and metrics, by name or wildcard; the trace context still travels through them.",
        default=(),
    )
    capture_arguments: bool = _option(
        SWITCH,
        "Put the arguments of each job on its spans, cut and redacted.",
        default=False,
    )
    capture_arguments_max_length: int = _option(
        COUNT,
        "Characters of each captured text before it is cut.",
        default=256,
    )
    redact_patterns: tuple[re.Pattern[str], ...] = _option(
        PATTERNS,
        "What is hidden in captured arguments, in the text of exceptions and in the lines of the libraries: "
        "the value of each argument or key whose name matches, and what matches inside a text. `default` "
        "stands for password, secret, token, authorization, api key and the user part of URLs: keep it in "
        "the list to add to it.",
        default=SECRETS,
    )
    baggage_keys: tuple[str, ...] = _option(
        WORDS,
        "Baggage entries copied to the spans and log records of a job (request id, tenant).",
        default=(),
    )
    failure_rules: tuple[tuple[str, str], ...] = _option(
        rules(*(category.value for category in Category)),
        "What kind of failure your exceptions are: `shop.PaymentDown=dependency,vendor.*=data`. A rule names "
        "a class or a base class by `module.qualname`, with * and ?; it wins over the table in failures.md.",
        default=(),
    )
    suppress_broker_spans: bool = _option(
        SWITCH,
        "No spans from the worker's own polling, heartbeats and bookkeeping in the broker.",
        default=True,
    )
    relay: bool = _option(
        SWITCH,
        "Children hand finished telemetry to the worker's parent, so that a killed child loses nothing. "
        "`false`: each child exports by itself and flushes when it ends.",
        default=True,
    )
    take_over: bool = _option(
        SWITCH,
        "Pass over the official Celery instrumentation where both are installed. `false`: ours stays out.",
        default=True,
    )
    schedules: bool = _option(
        SWITCH,
        "Beat and RQ's cron publish when each of their schedules last ran, in the Redis of the broker, else "
        "of the result backend, where `otel-taskqueue observe` finds what was missed.",
        default=True,
    )
    flush_timeout: float = _option(
        SECONDS,
        "Seconds an ending process waits while its export makes no progress.",
        default=1.0,
    )
    logs: bool = _option(
        SWITCH,
        "Give log records the fields of the job that wrote them, and ship them.",
        default=True,
    )
    log_dir: str = _option(
        PATH,
        "Folder of the JSON lines channel: one rotating file per worker and slot; without it there is none.",
        default="",
    )
    log_max_bytes: int = _option(
        BYTES,
        "Size of a file of the JSON lines channel before it is rotated.",
        default=10 * 2**20,
    )
    log_backups: int = _option(
        COUNT, "Rotated files of the JSON lines channel that are kept, per slot.", default=5
    )
    log_level_file: str = _option(
        PATH,
        "File with the least level of each log channel, read again every 5 s: levels change while it runs.",
        default="",
    )
    log_sampling: float = _option(
        SHARE,
        "Share of the jobs whose lines below WARNING are shipped. The lines of a job that does not end as a "
        "success are shipped in any case.",
        default=1.0,
    )
    _sources: Mapping[str, Source] = field(default_factory=dict[str, Source], repr=False, compare=False)

    @classmethod
    def load(cls, base: object = None, /, **keywords: object) -> Settings:
        """Read the environment; ``base`` (`Settings`, or a mapping) wins over it, a keyword over both."""
        given = {name: value for name, value in keywords.items() if value is not None}
        found = {**_values_of(base), **given}
        _warn_unknown(found)
        values: dict[str, object] = {}
        sources: dict[str, Source] = {}
        for name, option in OPTIONS.items():
            values[name], sources[name] = _read(option, found.get(name))
            if isinstance(base, Settings) and name not in given and values[name] == getattr(base, name):
                sources[name] = base.source_of(name)
        return cls(**values, _sources=sources)  # pyright: ignore[reportArgumentType]  (parsed by kind)

    def source_of(self, name: str) -> Source:
        """Where the value of the option `name` came from."""
        changed = getattr(self, name) != OPTIONS[name].default
        return self._sources.get(name, "keyword" if changed else "default")


OPTIONS: Mapping[str, Option] = {
    row.name: Option(row.name, row.metadata["kind"], row.default, row.metadata["meaning"])
    for row in dataclasses.fields(Settings)
    if "kind" in row.metadata
}


def _values_of(base: object) -> dict[str, Any]:
    if isinstance(base, Settings):
        return {name: getattr(base, name) for name in OPTIONS}
    if isinstance(base, Mapping):
        return {str(name): value for name, value in cast("Mapping[object, object]", base).items()}
    if base is not None:
        _warn(f"settings={_quoted(base)} is not usable: allowed is a Settings object or a mapping")
    return {}


def _read(option: Option, keyword: object) -> tuple[object, Source]:
    if keyword is not None:
        return _parsed(option, option.name, keyword, "keyword")
    # An empty variable counts as unset (OpenTelemetry's rule for its own variables).
    text = os.environ.get(option.variable, "").strip()
    if text:
        return _parsed(option, option.variable, text, "environment")
    return option.default, "default"


def _parsed(option: Option, origin: str, value: object, source: Source) -> tuple[object, Source]:
    try:
        return option.kind.parse(value), source
    except Exception:  # noqa: BLE001  (a keyword may be any object, whose str() may raise anything)
        default = option.kind.show(option.default)
        _warn(f"{origin}={_quoted(value)} is not usable: allowed is {option.kind.allowed}; using {default!r}")
        return option.default, "default"


def _quoted(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  (see _parsed)
        return f"<{type(value).__name__}>"


def _warn_unknown(keywords: Mapping[str, object]) -> None:
    variables = [option.variable for option in OPTIONS.values()]
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in variables:
            _warn(f"{name} is not a setting of otel-taskqueue and is ignored{_nearest(name, variables)}")
    for name in keywords:
        if name not in OPTIONS:
            _warn(f"{name} is not a setting of otel-taskqueue and is ignored{_nearest(name, OPTIONS)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    # Without the common prefix: it would make every name look like every other.
    short = {option.removeprefix(PREFIX): option for option in known}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), short, n=1)
    return f"; did you mean {short[close[0]]}?" if close else "; `otel-taskqueue settings` lists all"


@functools.cache
def _warn(message: str) -> None:
    """Warn once per process: each room loads the settings again."""
    _logger.warning("%s", message)


def sdk_disabled() -> bool:
    """Whether ``OTEL_SDK_DISABLED`` is ``true`` (any other text is false, as the specification has it)."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exception_signal() -> Literal["events", "logs", "both"]:
    """Where exceptions are recorded: ``OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN``, a list by commas.

    ``logs/dup`` wins over ``logs``, as in every opt-in list of the semantic conventions.
    """
    chosen = words(os.environ.get("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", ""))
    if "logs/dup" in chosen:
        return "both"
    return "logs" if "logs" in chosen else "events"


def disabled_instrumentations() -> frozenset[str]:
    """The entry point names in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS."""
    return frozenset(words(os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")))


def raise_internal_errors() -> bool:
    """OTEL_TASKQUEUE_RAISE_INTERNAL_ERRORS=1: our own test suite must see our errors."""
    return os.environ.get("OTEL_TASKQUEUE_RAISE_INTERNAL_ERRORS") == "1"


@contextmanager
def handing_down(lane: str) -> Generator[None]:
    """Let a program that is started within this block know of the lane to its parent."""
    os.environ[_LANE] = lane
    try:
        yield
    finally:
        os.environ.pop(_LANE, None)


def handed_down() -> str:
    """The lane to the parent, given once: whatever this process starts is not to know of it."""
    return os.environ.pop(_LANE, "")
