"""A Celery message as JobView: what the sender sees before, and the worker after its way."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from otel_taskqueue import semconv
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core import redact
from otel_taskqueue.core.job import JobView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_taskqueue.celery.broker import AppView
    from otel_taskqueue.settings import Settings


def of_publish(
    view: AppView, name: str, message: Any, options: Mapping[str, Any], settings: Settings
) -> JobView:
    """The job in a message that is about to be sent (protocols 1 and 2)."""
    job, properties = sent(message), message[1]
    return JobView(
        library=semconv.CELERY,
        broker=view.broker,
        task=name,
        id=str(job.get("id") or properties.get("correlation_id") or ""),
        queue=view.queue_of_publish(options),
        attempt=(job.get("retries") or 0) + 1,
        conversation_id=job.get("root_id"),
        group_id=job.get("group") or job.get("taskset"),
        eta=rfc3339(job.get("eta")),
        arguments=_arguments(job, settings),
    )


def sent(message: Any) -> Mapping[str, Any]:
    """Where a message that is about to be sent keeps what it says of its job."""
    headers, body = message[0], message[2]
    return headers if "id" in headers else body  # protocol 1 has everything in the body


def of_request(
    view: AppView, name: str, request: Mapping[str, Any], carrier: Mapping[str, str], settings: Settings,
    worker: str | None,
) -> JobView:  # fmt: skip
    """The job in a request, in the worker's parent or in the process that runs it."""
    delivery: Mapping[str, Any] = request.get("delivery_info") or {}
    eta = request.get("eta")
    return JobView(
        library=semconv.CELERY,
        broker=view.broker,
        task=name,
        id=str(request.get("id") or ""),
        queue=view.queue_of_delivery(delivery),
        attempt=(request.get("retries") or 0) + 1,
        conversation_id=request.get("root_id"),
        group_id=request.get("group"),
        eta=rfc3339(eta),
        redelivered=bool(delivery.get("redelivered")),
        worker=worker,
        wait=_carrier.wait(_carrier.enqueued_at(carrier), nanoseconds(eta) if eta else 0),
        arguments=_arguments(request, settings),
    )


def wants_link(task: Any, settings: Settings) -> bool:
    """Whether the task's attempts start traces of their own (``Task.otel_trace_style``, else the setting)."""
    return (getattr(task, semconv.TASK_TRACE_STYLE, None) or settings.trace_style) == "link"


def carrier_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The carrier in a request; protocol 1 and old versions of peers nest it in ``headers``."""
    found = _carrier.select(request)
    if not found:
        nested: Any = request.get("headers")
        if isinstance(nested, dict):
            found = _carrier.select(cast("dict[str, object]", nested))
    return found


def rfc3339(eta: Any) -> str | None:
    """A message's ETA as RFC 3339 text; ISO 8601 without zone means UTC."""
    moment = _moment(eta)
    return moment.isoformat() if moment is not None else None


def nanoseconds(eta: Any) -> int:
    """A message's ETA in unix nanoseconds; 0 when there is none or it cannot be read."""
    moment = _moment(eta)
    return int(moment.timestamp() * 1e9) if moment is not None else 0


def _moment(eta: Any) -> datetime | None:
    if isinstance(eta, str):
        try:
            eta = datetime.fromisoformat(eta.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(eta, datetime):
        return None
    return eta if eta.tzinfo is not None else eta.replace(tzinfo=timezone.utc)


def _arguments(job: Mapping[str, Any], settings: Settings) -> tuple[str, str] | None:
    if not settings.capture_arguments:
        return None
    args, kwargs = job.get("argsrepr"), job.get("kwargsrepr")
    if args is None:
        args, kwargs = repr(job.get("args", ())), repr(job.get("kwargs", {}))
    return redact.arguments(str(args), str(kwargs), settings)
