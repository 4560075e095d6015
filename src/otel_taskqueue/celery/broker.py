"""What an application's configuration says about its broker and queues: found once, read per job."""

from __future__ import annotations

import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from otel_taskqueue.core.job import Broker

if TYPE_CHECKING:
    from collections.abc import Mapping

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
#: Native delayed delivery: 28 levels of delay stand before the routing key.
_DELAYED_EXCHANGE = "celery_delayed"
_DELAYED_LEVELS = 28
_views: weakref.WeakKeyDictionary[Any, AppView] = weakref.WeakKeyDictionary()


def view_of(app: Any) -> AppView:
    """The one view of this application."""
    found = _views.get(app)
    if found is None:
        found = _views[app] = AppView(app)
    return found


class AppView:
    """Broker and queue names of one application, without credentials."""

    def __init__(self, app: Any) -> None:
        self._app = weakref.ref(app)
        #: Whether messages have a place for the time they were sent; known once `broker` is.
        self.stamps_messages = False

    @cached_property
    def broker(self) -> Broker:
        """The broker that messages are written to (the first one of a failover list)."""
        connection = self._app_now().connection_for_write()
        transport = connection.get_transport_cls()
        driver = getattr(transport, "driver_type", None) or str(connection.transport_cls)
        system = _SYSTEMS.get(driver, driver)
        self.stamps_messages = getattr(transport, "driver_name", None) == "py-amqp"
        if system in _NO_ADDRESS:
            return Broker(system)
        hostname: str = connection.hostname or "localhost"
        if any(sign in hostname for sign in "@/,"):
            return Broker(system, *_address_in(hostname))
        port = connection.port or getattr(transport, "default_port", None)
        return Broker(system, hostname, int(port) if port else None)

    @cached_property
    def default_queue(self) -> str:
        """`task_default_queue`."""
        return str(self._app_now().conf.task_default_queue)

    @cached_property
    def bindings(self) -> dict[tuple[str, str], str]:
        """(exchange, routing key) -> name of the configured queue."""
        queues = self._app_now().amqp.queues.values()
        return {(_name(queue.exchange), queue.routing_key or ""): queue.name for queue in queues}

    def queue_of_publish(self, options: Mapping[str, Any]) -> str:
        """The queue a message is sent to, else its routing key, else the default queue."""
        queue: Any = options.get("queue")
        if queue is not None:
            return queue if isinstance(queue, str) else queue.name
        exchange, routing_key = _name(options.get("exchange")), options.get("routing_key")
        if exchange.startswith(_DELAYED_EXCHANGE) and routing_key:
            return routing_key.split(".", _DELAYED_LEVELS)[-1]
        return routing_key or exchange or self.default_queue

    def queue_of_delivery(self, delivery: Mapping[str, Any]) -> str:
        """The queue a message came from, by exchange and routing key."""
        exchange, routing_key = _name(delivery.get("exchange")), delivery.get("routing_key") or ""
        if routing_key.count(".") >= _DELAYED_LEVELS:
            routing_key = routing_key.split(".", _DELAYED_LEVELS)[-1]
        if not exchange:
            return routing_key or self.default_queue
        return self.bindings.get((exchange, routing_key), routing_key or exchange)

    def _app_now(self) -> Any:
        return self._app()


def _address_in(url: str) -> tuple[str | None, int | None]:
    """Host and port, or the path of a socket, where kombu keeps the whole URL, password included."""
    scheme, found, rest = url.partition("://")
    rest = (rest if found else url).rpartition("@")[2]  # a password may hold any other sign
    if scheme in {"socket", "unix"}:
        return rest.partition("?")[0] or None, None
    first = urlsplit("//" + rest.partition("/")[0].partition(",")[0])
    try:
        return first.hostname, first.port
    except ValueError:
        return first.hostname, None


def _name(exchange: Any) -> str:
    return exchange if isinstance(exchange, str) else getattr(exchange, "name", "") or ""
