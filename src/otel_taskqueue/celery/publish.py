"""Where Celery sends: every path ends in the function that `AMQP._create_task_sender` makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_taskqueue.celery import job as _job
from otel_taskqueue.celery.broker import view_of
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.lifecycle import Publishing, current_attempt
from otel_taskqueue.core.message import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_taskqueue.celery.broker import AppView
    from otel_taskqueue.core.job import Current, JobView
    from otel_taskqueue.core.telemetry import Telemetry


def sender(telemetry: Telemetry) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `celery.app.amqp.AMQP._create_task_sender`."""

    def wrapper(create: Callable[..., Any]) -> Callable[..., Any]:
        def create_task_sender(amqp: Any) -> Callable[..., Any]:
            return _send_with(telemetry, view_of(amqp.app), create(amqp))

        return create_task_sender

    return wrapper


def _send_with(telemetry: Telemetry, view: AppView, send: Callable[..., Any]) -> Callable[..., Any]:
    def send_task_message(producer: Any, name: str, message: Any, *args: Any, **options: Any) -> Any:
        with Publishing(telemetry, _outgoing, telemetry, view, name, message, options) as publishing:
            if publishing.carrier:
                # A copy, as the sender merges it last: a retry hands its old headers in here.
                options["headers"] = {**(options.get("headers") or {}), **publishing.carrier}
                if view.stamps_messages:
                    _stamp(message, options, publishing.carrier)
            return send(producer, name, message, *args, **options)

    return send_task_message


def _stamp(message: Any, options: dict[str, Any], carrier: Mapping[str, str]) -> None:
    """The AMQP timestamp (unix time, s): when the job can be taken.

    By it RabbitMQ can tell how old a queue's oldest message is; it sets none itself.
    """
    with Guarded("publish"):
        if "timestamp" not in options and "timestamp" not in message[1]:
            ready = max(_carrier.enqueued_at(carrier), _job.nanoseconds(_job.sent(message).get("eta")))
            options["timestamp"] = ready // 1_000_000_000


def _outgoing(
    telemetry: Telemetry, view: AppView, name: str, message: Any, options: Mapping[str, Any]
) -> Outgoing:
    job = _job.of_publish(view, name, message, options, telemetry.settings)
    return Outgoing(job, retry_of=_asked_by(job))


def _asked_by(job: JobView) -> Current | None:
    """The running attempt of the same job, when this is its next attempt (not a replacement)."""
    current = current_attempt()
    if current is not None and current.job.id == job.id and job.attempt > current.job.attempt:
        return current
    return None
