"""Workers and servers for tests which need one of their own, or share one over a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import observer
from support.celery_harness import CeleryHarness
from support.client import Client
from support.delivery import DeliveryHarness, StartDelivery
from support.harness import Harness, Options, rabbit_broker, redis_broker
from support.logs_lab import running_client
from support.otlp import Receiver
from support.servers import RedisServer

StartCelery = Callable[..., CeleryHarness]


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that no other module uses."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def empty_redis(own_redis: RedisServer) -> RedisServer:
    """The module's own, empty but for the number of leaders there were: a new one need not wait."""
    observer.empty(own_redis)
    return own_redis


@pytest.fixture(scope="module")
def logs_client(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Enqueues the jobs of all workers whose log lines are counted."""
    with running_client(redis_server, tmp_path_factory.mktemp("client")) as found:
        yield found


@pytest.fixture(scope="module")
def celery(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryHarness]:
    """A prefork worker on Redis for the tests of one module."""
    directory = tmp_path_factory.mktemp("celery")
    with Receiver() as receiver:
        harness = CeleryHarness(redis_broker(redis_server), receiver, directory, pool="prefork")
        with harness:
            yield harness


@pytest.fixture
def start_celery(
    redis_server: RedisServer,
    receiver: Receiver,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[StartCelery]:
    """Start a worker for one test; it is gone afterwards whatever happens."""
    started: list[Harness] = []

    def start(
        pool: str = "prefork",
        *,
        broker: str = "redis",
        to: Receiver | None = None,
        options: Options | None = None,
    ) -> CeleryHarness:
        where = redis_broker(redis_server)
        if broker == "rabbitmq":
            where = rabbit_broker(request.getfixturevalue("rabbit_server"), redis_server)
        harness = CeleryHarness(where, to or receiver, tmp_path, pool=pool, options=options)
        started.append(harness)
        harness.start()
        return harness

    yield start
    for harness in started:
        harness.stop()


@pytest.fixture
def start_delivery(redis_server: RedisServer, receiver: Receiver, tmp_path: Path) -> Iterator[StartDelivery]:
    """Start a worker of ``delivery_app`` for one test; it is gone afterwards whatever happens."""
    started: list[DeliveryHarness] = []

    def start(
        pool: str = "prefork",
        *,
        to: Receiver | None = None,
        client_of: DeliveryHarness | None = None,
        **options: Any,
    ) -> DeliveryHarness:
        harness = DeliveryHarness(
            redis_broker(redis_server),
            to or receiver,
            tmp_path,
            pool=pool,
            options=Options(**options),
        )
        harness.lender = client_of
        started.append(harness)
        harness.start()
        return harness

    yield start
    for harness in reversed(started):
        if harness.worker is not None:
            harness.worker.kill()  # a warm stop takes seconds; tests that want one ask for it
        harness.stop()
