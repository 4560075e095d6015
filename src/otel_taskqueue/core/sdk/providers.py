"""The SDK's providers and their processors: found, classified, and replaced in a child.

This is the one place that knows private attributes of the SDK. When one of them is gone the
functions answer None, and everything falls back to the bounded flush.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.resources import Resource

    from otel_taskqueue.core.telemetry import Telemetry

_EXACT = frozenset(
    {BatchSpanProcessor, SimpleSpanProcessor, BatchLogRecordProcessor, SimpleLogRecordProcessor}
)
_HOLDERS = (
    (TracerProvider, "_active_span_processor", "_span_processors"),
    (LoggerProvider, "_multi_log_record_processor", "_log_record_processors"),
)
_EXIT_HANDLERS = ("_atexit_handler", "_at_exit_handler")


class Pipeline(NamedTuple):
    """One provider with its processors, as they stood when the relay was made.

    ``exact`` are the SDK's own processors: in a child a relay stands for them. ``own`` are the
    user's: they stay where they are.
    """

    provider: Any
    exact: tuple[Any, ...]
    own: tuple[Any, ...]

    @property
    def signal(self) -> str:
        """``traces`` or ``logs``."""
        return "traces" if isinstance(self.provider, TracerProvider) else "logs"

    @property
    def resource(self) -> Resource:
        """The resource of the provider in this process."""
        return self.provider.resource


def tracer_provider(given: Any = None) -> TracerProvider | None:
    """The SDK's tracer provider in use; None while there is none."""
    provider = given if given is not None else trace.get_tracer_provider()
    return provider if isinstance(provider, TracerProvider) else None


def logger_provider(given: Any = None) -> LoggerProvider | None:
    """The SDK's logger provider in use; None while there is none."""
    provider = given if given is not None else _logs.get_logger_provider()
    return provider if isinstance(provider, LoggerProvider) else None


def all_providers(*given: Any) -> list[Any]:
    """The given and the global providers of all signals, each once, as far as they are the SDK's.

    Given may be None: nobody gave one.
    """
    found: list[Any] = []
    for provider in (
        *given,
        trace.get_tracer_provider(),
        _logs.get_logger_provider(),
        metrics.get_meter_provider(),
    ):
        if hasattr(provider, "force_flush") and all(provider is not other for other in found):
            found.append(provider)
    return found


def of(telemetry: Telemetry) -> list[Any]:
    """All providers of an instrumented library: those it was given, and the global ones."""
    return all_providers(telemetry.tracer_provider, telemetry.logger_provider, telemetry.meter_provider)


def meter_providers(*given: Any) -> list[MeterProvider]:
    """The SDK's meter providers among the given ones and the global one."""
    return [provider for provider in all_providers(*given) if isinstance(provider, MeterProvider)]


def pipelines(providers: Iterable[Any]) -> list[Pipeline] | None:
    """The processors of each provider; None when the SDK no longer shows them."""
    found: list[Pipeline] = []
    for provider in providers:
        if not isinstance(provider, (TracerProvider, LoggerProvider)):
            continue
        processors = processors_of(provider)
        if processors is None:
            return None
        found.append(
            Pipeline(
                provider,
                tuple(p for p in processors if type(p) in _EXACT),
                tuple(p for p in processors if type(p) not in _EXACT),
            )
        )
    return found


def processors_of(provider: Any) -> tuple[Any, ...] | None:
    """The processors of a provider in their order; None when the SDK no longer shows them."""
    holder, name = _holder(provider)
    return getattr(holder, name, None) if holder is not None else None


def put_processors(provider: Any, processors: tuple[Any, ...]) -> None:
    """Replace the processors of a provider."""
    holder, name = _holder(provider)
    setattr(holder, name, processors)


def fill(processor: Any) -> tuple[int, int] | None:
    """How many items wait in a batch processor and how many may; None when it does not batch."""
    batch = getattr(processor, "_batch_processor", None)
    queue = getattr(batch, "_queue", None)
    size = getattr(batch, "_max_queue_size", None)
    if queue is None or size is None:
        return None
    return len(queue), size


def waiting(provider: Any) -> int:
    """How many items wait in all batch processors of a provider."""
    fills = (fill(processor) for processor in processors_of(provider) or ())
    return sum(found[0] for found in fills if found is not None)


def take_exit_handler(provider: Any) -> bool:
    """Take the provider's own shutdown from the interpreter's exit; True when there was one."""
    import atexit  # noqa: PLC0415

    for name in _EXIT_HANDLERS:
        handler = getattr(provider, name, None)
        if handler is not None:
            atexit.unregister(handler)
            setattr(provider, name, None)
            return True
    return False


def _holder(provider: Any) -> tuple[Any, str]:
    for kind, attribute, name in _HOLDERS:
        if isinstance(provider, kind):
            return getattr(provider, attribute, None), name
    return None, ""
