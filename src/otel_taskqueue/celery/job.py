"""A Celery message as JobView: what the sender sees before, and the worker after its way."""

from __future__ import annotations

import weakref
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from otel_taskqueue import semconv
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core import redact
from otel_taskqueue.core.job import Broker, JobView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_taskqueue.settings import Settings

#: kombu's driver type -> messaging.system of the conventions; anything else stays as kombu says.
_SYSTEMS = {
    "amqp": "rabbitmq",
    "sqs": "aws_sqs",
    "confluentkafka": "kafka",
    "azureservicebus": "servicebus",
    "gcpubsub": "gcp_pubsub",
    "sentinel": "redis",
}
_NO_ADDRESS = frozenset({"memory", "filesystem", "aws_sqs", "gcp_pubsub"})
_DELAYED_EXCHANGE = "celery_delayed"
_DELAYED_LEVELS = 28
_brokers: weakref.WeakKeyDictionary[Any, tuple[Any, Broker]] = weakref.WeakKeyDictionary()
_queues: weakref.WeakKeyDictionary[Any, dict[tuple[str, str], str]] = weakref.WeakKeyDictionary()


def broker_of(app: Any) -> Broker:
    """The broker that the application is configured for, without credentials; found once."""
    url = app.conf.broker_write_url or app.conf.broker_url
    known = _brokers.get(app)
    if known is None or known[0] != url:
        known = _brokers[app] = (url, _find_broker(app))
    return known[1]


def queue_of_publish(app: Any, options: Mapping[str, Any]) -> str:
    """The queue a message is sent to, else its routing key, else the default queue."""
    queue = options.get("queue")
    if queue is not None:
        return queue if isinstance(queue, str) else queue.name
    exchange, routing_key = _name(options.get("exchange")), options.get("routing_key")
    if exchange.startswith(_DELAYED_EXCHANGE) and routing_key:
        return routing_key.split(".", _DELAYED_LEVELS)[-1]
    return routing_key or exchange or app.conf.task_default_queue


def queue_of_delivery(app: Any, delivery: Mapping[str, Any]) -> str:
    """The queue a message came from, by exchange and routing key."""
    exchange, routing_key = _name(delivery.get("exchange")), delivery.get("routing_key") or ""
    if routing_key.count(".") >= _DELAYED_LEVELS:
        routing_key = routing_key.split(".", _DELAYED_LEVELS)[-1]
    if not exchange:
        return routing_key or app.conf.task_default_queue
    return _bindings(app).get((exchange, routing_key), routing_key or exchange)


def of_publish(app: Any, name: str, message: Any, options: Mapping[str, Any], settings: Settings) -> JobView:
    """The job in a message that is about to be sent (protocols 1 and 2)."""
    headers, properties, body = message[0], message[1], message[2]
    job = headers if "id" in headers else body  # protocol 1 has everything in the body
    return JobView(
        library=semconv.CELERY,
        broker=broker_of(app),
        task=name,
        id=str(job.get("id") or properties.get("correlation_id") or ""),
        queue=queue_of_publish(app, options),
        attempt=(job.get("retries") or 0) + 1,
        conversation_id=job.get("root_id"),
        group_id=job.get("group") or job.get("taskset"),
        eta=rfc3339(job.get("eta")),
        arguments=_arguments(job, settings),
    )


def of_request(
    app: Any, name: str, request: Mapping[str, Any], carrier: Mapping[str, str], settings: Settings,
    worker: str | None,
) -> JobView:  # fmt: skip
    """The job in a request, in the worker's parent or in the process that runs it."""
    delivery: Mapping[str, Any] = request.get("delivery_info") or {}
    eta = request.get("eta")
    return JobView(
        library=semconv.CELERY,
        broker=broker_of(app),
        task=name,
        id=str(request.get("id") or ""),
        queue=queue_of_delivery(app, delivery),
        attempt=(request.get("retries") or 0) + 1,
        conversation_id=request.get("root_id"),
        group_id=request.get("group"),
        eta=rfc3339(eta),
        redelivered=bool(delivery.get("redelivered")),
        worker=worker,
        wait=_carrier.wait(_carrier.times(carrier).enqueued, nanoseconds(eta) if eta else 0),
        arguments=_arguments(request, settings),
    )


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


def _find_broker(app: Any) -> Broker:
    connection = app.connection_for_write()
    transport = connection.get_transport_cls()
    driver = getattr(transport, "driver_type", None) or str(connection.transport_cls)
    system = _SYSTEMS.get(driver, driver)
    if system in _NO_ADDRESS:
        return Broker(system)
    address = connection.hostname or "localhost"
    port = connection.port or getattr(transport, "default_port", None)
    return Broker(system, address, int(port) if port else None)


def _bindings(app: Any) -> dict[tuple[str, str], str]:
    found = _queues.get(app)
    if found is None:
        found = _queues[app] = {
            (_name(queue.exchange), queue.routing_key or ""): queue.name for queue in app.amqp.queues.values()
        }
    return found


def _name(exchange: Any) -> str:
    return exchange if isinstance(exchange, str) else getattr(exchange, "name", "") or ""
