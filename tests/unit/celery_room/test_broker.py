"""Broker and queue as spans name them: never a password, never a routing key of 28 levels."""

from __future__ import annotations

import pytest
from celery import Celery
from kombu import Exchange, Queue

from otel_taskqueue.celery.broker import _address_in, view_of
from otel_taskqueue.core.job import Broker

DELAYED = ".".join("0" * 27 + "1") + ".orders.eu"


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://:pw@h:1/0", Broker("redis", "h", 1)),
        ("rediss://u:pw@h/0", Broker("redis", "h", 6379)),
        ("redis+socket:///tmp/redis.sock", Broker("redis", "/tmp/redis.sock", None)),
        ("redis+socket://:p/w@/tmp/redis.sock?virtual_host=1", Broker("redis", "/tmp/redis.sock", None)),
        ("sentinel://:pw@h1:26379;sentinel://:pw@h2:26379", Broker("redis", "h1", 26379)),
        ("amqps://u:p@h1:5671/v;amqp://u:p@h2//", Broker("rabbitmq", "h1", 5671)),
        ("pyamqp://guest@localhost//", Broker("rabbitmq", "localhost", 5672)),
        ("memory://", Broker("memory")),
        ("filesystem://", Broker("filesystem")),
    ],
)
def test_the_broker_is_named_without_credentials(url: str, broker: Broker) -> None:
    """`messaging.system`, `server.address` and `server.port` as the conventions have them."""
    assert view_of(Celery(broker=url)).broker == broker


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mongodb://u:p@m1:27017,m2:27017/jobs", ("m1", 27017)),
        ("postgresql://user:pa/ss@dbhost:5433/db", ("dbhost", 5433)),
        ("postgresql+psycopg2://user:p@ss@[::1]:5433/db", ("::1", 5433)),
        ("mysql://u:p@h:abc/x", ("h", None)),
        ("mssql+pyodbc:///?odbc_connect=Driver;PWD=x", (None, None)),
        ("sqlite:///x.db", (None, None)),
        ("m1:27017,m2:27017", ("m1", 27017)),
    ],
)
def test_of_a_whole_url_only_host_and_port_are_told(url: str, address: tuple[str | None, int | None]) -> None:
    """kombu hands transports that parse URLs themselves the whole of it, password included."""
    assert _address_in(url) == address


@pytest.mark.parametrize(
    ("options", "queue"),
    [
        ({"queue": Queue("orders")}, "orders"),
        ({"queue": "orders"}, "orders"),
        ({"queue": "orders", "routing_key": "else"}, "orders"),
        ({"exchange": Exchange("shop"), "routing_key": "orders.eu"}, "orders.eu"),
        ({"exchange": Exchange("celery_delayed_27"), "routing_key": DELAYED}, "orders.eu"),
        ({"exchange": "shop"}, "shop"),
        ({}, "jobs"),
    ],
)
def test_the_queue_of_a_message_that_is_sent(options: dict[str, object], queue: str) -> None:
    """The queue, else the routing key without the levels of native delayed delivery."""
    app = Celery(broker="memory://")
    app.conf.task_default_queue = "jobs"
    assert view_of(app).queue_of_publish(options) == queue


@pytest.mark.parametrize(
    ("delivery", "queue"),
    [
        ({"exchange": "", "routing_key": "jobs"}, "jobs"),
        ({"exchange": "shop", "routing_key": "orders.eu"}, "europe"),
        ({"exchange": "shop", "routing_key": DELAYED}, "europe"),
        ({"exchange": "other", "routing_key": "x"}, "x"),
        ({"exchange": None, "routing_key": None}, "jobs"),
        ({}, "jobs"),
    ],
)
def test_the_queue_a_message_came_from(delivery: dict[str, str | None], queue: str) -> None:
    """By the application's bindings; an exchange's routing key is no name of a queue."""
    app = Celery(broker="memory://")
    app.conf.task_default_queue = "jobs"
    app.conf.task_queues = [Queue("jobs"), Queue("europe", Exchange("shop"), routing_key="orders.eu")]
    assert view_of(app).queue_of_delivery(delivery) == queue
