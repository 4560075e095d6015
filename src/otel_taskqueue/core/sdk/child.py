"""What changes in a child after the fork: a relay stands where the SDK's processors stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from otel_taskqueue.core import quiet
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.relay import channel
from otel_taskqueue.core.sdk import providers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk._logs import ReadWriteLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_taskqueue.core.sdk.providers import Pipeline


class RelaySpanProcessor(SpanProcessor):
    """Hands ended spans to the worker's parent."""

    def __init__(self, index: int) -> None:
        self._index = index

    def on_end(self, span: ReadableSpan) -> None:
        """Hand over a sampled span."""
        lane = channel.current()
        if lane is None or span.context is None or not span.context.trace_flags.sampled:
            return
        with Guarded("relay"):  # a time limit that strikes here belongs to the job, which goes on
            lane.span(self._index, span)


class RelayLogRecordProcessor(LogRecordProcessor):
    """Hands emitted log records to the worker's parent."""

    def __init__(self, index: int) -> None:
        self._index = index

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Hand over a record; what our own guard logs is no reason for another record."""
        lane = channel.current()
        if lane is None or quiet.by_user():
            return
        with Guarded("relay"):
            lane.log(self._index, log_record)

    def shutdown(self) -> None:
        """Nothing is held here."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing waits here longer than the attempt."""
        del timeout_millis
        return True


def relay(pipelines: Sequence[Pipeline]) -> None:
    """Put a relay in the place of the SDK's own processors; last, so that it packs what is final."""
    for index, pipeline in enumerate(pipelines):
        kept = _without(providers.processors_of(pipeline.provider) or (), pipeline.exact)
        stand_in: Any = (
            RelaySpanProcessor(index)
            if isinstance(pipeline.provider, TracerProvider)
            else RelayLogRecordProcessor(index)
        )
        providers.put_processors(pipeline.provider, (*kept, stand_in))


def relay_last(pipelines: Sequence[Pipeline]) -> None:
    """Move our relay behind processors that the application added in the child."""
    for pipeline in pipelines:
        processors: tuple[Any, ...] = providers.processors_of(pipeline.provider) or ()
        ours = [p for p in processors if isinstance(p, (RelaySpanProcessor, RelayLogRecordProcessor))]
        if ours and processors[-1] is not ours[-1]:
            providers.put_processors(pipeline.provider, (*_without(processors, ours), *ours))


def has_own_processors(found: Sequence[Any]) -> bool:
    """Whether a provider of this child exports by itself and needs a flush when the child ends."""
    for provider in found:
        for processor in providers.processors_of(provider) or ():
            if not isinstance(processor, (RelaySpanProcessor, RelayLogRecordProcessor)):
                return True
    return False


def _without(processors: Sequence[Any], removed: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(p for p in processors if all(p is not other for other in removed))
