"""What ``instrument()`` decided once, read on every job: tracer, hooks, settings in ready form."""

from __future__ import annotations

import fnmatch
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry._logs import get_logger

from otel_taskqueue import semconv
from otel_taskqueue.core import metrics as _metrics
from otel_taskqueue.settings import Settings, exception_signal
from otel_taskqueue.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry._logs import Logger
    from opentelemetry.trace import Span, Tracer

    from otel_taskqueue.core.job import JobView
    from otel_taskqueue.core.metrics import Metrics

    Hook = Callable[[Span, JobView], None]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Everything that one instrumented library needs per job.

    Args:
        tracer: Makes our spans; resolves the global provider late when none was given.
        logger: Takes exceptions as log records when the user opted in to that.
        metrics: The instruments, shared by all libraries with the same meter provider.
        tracer_provider: As given to ``instrument()``; None means the global one.
        logger_provider: Likewise.
        meter_provider: Likewise.
        publish_hook: Called with the recording ``send`` span and the job.
        process_hook: Called with the recording ``process`` span and the job.
    """

    settings: Settings
    tracer: Tracer
    logger: Logger
    metrics: Metrics
    tracer_provider: Any = None
    logger_provider: Any = None
    meter_provider: Any = None
    publish_hook: Hook | None = None
    process_hook: Hook | None = None
    exceptions_as_events: bool = True
    exceptions_as_logs: bool = False
    excluded: Callable[[str], bool] = field(default=lambda _task: False)


_OBJECTS = frozenset(
    {"tracer_provider", "meter_provider", "logger_provider", "publish_hook", "process_hook", "skip_dep_check"}
)


def make(**options: Any) -> Telemetry:
    """Build the object from the keyword arguments of ``instrument()``."""
    settings = _settings(options)
    tracer_provider = options.get("tracer_provider")
    logger_provider = options.get("logger_provider")
    signal = exception_signal()
    return Telemetry(
        settings=settings,
        tracer=trace.get_tracer(semconv.SCOPE, __version__, tracer_provider, semconv.SCHEMA_URL),
        logger=get_logger(semconv.SCOPE, __version__, logger_provider, semconv.SCHEMA_URL),
        metrics=_metrics.of(options.get("meter_provider")),
        tracer_provider=tracer_provider,
        logger_provider=logger_provider,
        meter_provider=options.get("meter_provider"),
        publish_hook=options.get("publish_hook"),
        process_hook=options.get("process_hook"),
        exceptions_as_events=signal in {"events", "both"},
        exceptions_as_logs=signal in {"logs", "both"},
        excluded=_matcher(settings.excluded_tasks),
    )


def _settings(options: dict[str, Any]) -> Settings:
    single = {key: value for key, value in options.items() if key not in _OBJECTS and key != "settings"}
    return Settings.load(options.get("settings"), **single)


def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    if not patterns:
        return lambda _task: False

    @functools.lru_cache(maxsize=1024)
    def excluded(task: str) -> bool:
        return any(fnmatch.fnmatchcase(task, pattern) for pattern in patterns)

    return excluded
