"""All jobs of one canvas call share one trace: a CLIENT span above them when nothing else is (D7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_taskqueue import semconv
from otel_taskqueue.celery.broker import view_of
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
            with batch.Batch(telemetry, _batch, canvas, label) as call:
                result = apply(canvas, *args, **kwargs)
                call.sent(_count, canvas)
                return result

        return apply_async

    return wrapper


def _batch(canvas: Any, label: str) -> batch.Sent:
    return batch.Sent(semconv.CELERY, view_of(canvas.app).broker, label, None, SpanKind.CLIENT)


def _count(canvas: Any) -> int:
    """How many jobs the call set in motion: messages of a group, of a chord's header, links of a chain.

    Asked after the call: counting a lazy canvas runs the user's generator.
    """
    if "it" in canvas["kwargs"]:
        return -(-len(canvas["kwargs"]["it"]) // canvas["kwargs"]["n"])
    tasks: Any = canvas.tasks
    return len(getattr(tasks, "tasks", tasks))  # a chord's header may be a group, which is a dict
