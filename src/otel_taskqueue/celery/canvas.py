"""All jobs of one canvas call share one trace: a CLIENT span above them when nothing else is (D7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_taskqueue import semconv
from otel_taskqueue.celery import job as _job
from otel_taskqueue.core import batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.core.telemetry import Telemetry

#: Class of `celery.canvas` -> what its call is named after.
LABELS = {"group": "group", "_chord": "chord", "_chain": "chain", "chunks": "chunks"}


def one_trace(telemetry: Telemetry, label: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `apply_async` of a canvas class."""

    def wrapper(apply: Callable[..., Any]) -> Callable[..., Any]:
        def apply_async(canvas: Any, *args: Any, **kwargs: Any) -> Any:
            if trace.get_current_span().get_span_context().is_valid or canvas.app.conf.task_always_eager:
                return apply(canvas, *args, **kwargs)
            with batch.Batch(telemetry, _batch, canvas, label):
                return apply(canvas, *args, **kwargs)

        return apply_async

    return wrapper


def _batch(canvas: Any, label: str) -> batch.Sent:
    return batch.Sent(semconv.CELERY, _job.broker_of(canvas.app), label, _count(canvas), SpanKind.CLIENT)


def _count(canvas: Any) -> int | None:
    """How many messages the call sends, as far as the canvas itself knows."""
    tasks: Any = getattr(canvas, "tasks", None)
    return len(tasks) if hasattr(tasks, "__len__") else None
