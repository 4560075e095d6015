"""Messages that never become a request: Celery's signals tell of them, of all but one kind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import wrapt

from otel_taskqueue import semconv
from otel_taskqueue.celery import boot
from otel_taskqueue.celery.broker import view_of
from otel_taskqueue.core import arbiter, delivery, failure, guard
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core.attempts import open_attempt
from otel_taskqueue.core.failure import Verdict
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.job import Current, JobView
from otel_taskqueue.core.message import Incoming
from otel_taskqueue.semconv import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_taskqueue.core.telemetry import Telemetry

_telemetry: Telemetry | None = None
_hooked = False
_UID = "otel-taskqueue"


def connect(telemetry: Telemetry) -> None:
    """Listen, as soon as Celery's signals are imported."""
    global _telemetry, _hooked  # noqa: PLW0603  one set of receivers per process
    _telemetry = telemetry
    if not _hooked:
        _hooked = True
        wrapt.register_post_import_hook(_listen, "celery.signals")
        wrapt.register_post_import_hook(_know_time_limits, "billiard.exceptions")


def disconnect() -> None:
    """Hear no more."""
    global _telemetry  # noqa: PLW0603
    _telemetry = None


def _listen(signals: Any) -> None:
    signals.task_unknown.connect(_on_unknown, weak=False, dispatch_uid=_UID)
    signals.task_rejected.connect(_on_rejected, weak=False, dispatch_uid=_UID)
    signals.worker_process_shutdown.connect(_on_child_end, weak=False, dispatch_uid=_UID)


def _know_time_limits(exceptions: Any) -> None:
    guard.let_pass(exceptions.SoftTimeLimitExceeded)


def _on_unknown(
    sender: Any = None,
    message: Any = None,
    name: str = "",
    id: str = "",  # noqa: A002  the signal names it so
    **_: Any,
) -> None:
    """A message for a task that this worker does not know."""
    _report(sender, message, name, id, unknown(name))


def _on_rejected(sender: Any = None, message: Any = None, exc: Any = None, **_: Any) -> None:
    """A message that is no task, or one that cannot be made into a request."""
    _reject(sender, message, rejected(exc))


def undecodable(_telemetry: Telemetry) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `Consumer.on_decode_error`: no signal tells of a message that cannot be decoded."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def on_decode_error(consumer: Any, message: Any, exc: Exception) -> Any:
            with Guarded("verdict"):
                _reject(consumer, message, rejected(exc))
            return original(consumer, message, exc)

        return on_decode_error

    return wrapper


def unknown(name: str) -> Verdict:
    """The verdict on a message for a task that this worker does not know."""
    raised = failure.reported("celery.exceptions.NotRegistered", f"{name!r} is not registered in this worker")
    return Verdict(Outcome.UNKNOWN, raised)


def rejected(error: BaseException | None) -> Verdict:
    """The verdict on a message that is no task (None), cannot be decoded or made into a request."""
    if error is None:
        return Verdict(Outcome.REJECTED, description="the message is no task message")
    return Verdict(Outcome.REJECTED, failure.raised(error))


def named(message: Any) -> tuple[str, str]:
    """Which task and which job a message says that it is."""
    headers: dict[str, Any] = getattr(message, "headers", None) or {}
    return headers.get("task") or "unknown", headers.get("id") or ""


def attempt_of(consumer: Any, message: Any, name: str, job_id: str) -> Current:
    """The attempt that such a message stands for."""
    headers: dict[str, Any] = message.headers or {}
    view = view_of(consumer.app)
    job = JobView(
        library=semconv.CELERY,
        broker=view.broker,
        task=str(name),
        id=str(job_id),
        queue=view.queue_of_delivery(message.delivery_info or {}),
        attempt=(headers.get("retries") or 0) + 1,
        worker=consumer.hostname,
    )
    return Current(job, _carrier.select(headers), None)


def _reject(consumer: Any, message: Any, verdict: Verdict) -> None:
    _report(consumer, message, *named(message), verdict)


def _on_child_end(**_: Any) -> None:
    """A child that was instrumented after its fork (`worker_process_init`) ends: flush."""
    telemetry = _telemetry
    if telemetry is not None and not boot.ends_by_wrapper():
        delivery.leave_child(telemetry)


def _no_verdict(_error: BaseException) -> None:
    """Nothing runs here that could raise."""


def _report(consumer: Any, message: Any, name: str, job_id: str, verdict: Verdict) -> None:
    telemetry = _telemetry
    if telemetry is None or not delivery.reports(telemetry):
        return
    with Guarded("verdict"):
        found = attempt_of(consumer, message, name, job_id)
        link = telemetry.settings.trace_style == "link"
        incoming = Incoming(found.job, found.carrier, _no_verdict, link=link)
        attempt = open_attempt(telemetry, lambda _attempt: incoming)
        arbiter.count(attempt, verdict)
        delivery.alone(attempt, verdict, time.time_ns())
