"""One worker per setting (room, pool, broker), shared by its scenarios."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.table import Setting, settings
from support.celery_harness import CeleryHarness
from support.harness import Broker, Harness, Options, rabbit_broker, redis_broker
from support.otlp import Receiver
from support.rq_lab import RQLab
from support.servers import RedisServer

ROOMS: dict[str, type[Harness]] = {"celery": CeleryHarness, "rq": RQLab}
OPTIONS = {"celery": Options(conf={"imports": ["conformance.tasks"]}), "rq": Options()}


class Workers:
    """The worker of the setting that is being tested; one at a time, the machine is small."""

    def __init__(self, request: pytest.FixtureRequest, redis: RedisServer) -> None:
        self._request = request
        self._redis = redis
        self._current: tuple[Setting, Harness] | None = None

    def at(self, setting: Setting) -> Harness:
        """The worker of ``setting``; starting it stops the one of another setting."""
        if self._current is None or self._current[0] != setting:
            self.stop()
            factory: pytest.TempPathFactory = self._request.getfixturevalue("tmp_path_factory")
            harness = ROOMS[setting.room](
                self._broker(setting),
                Receiver().start(),
                factory.mktemp(str(setting)),
                pool=setting.pool,
                options=OPTIONS[setting.room],
            )
            self._current = (setting, harness)
            harness.start()
            # The first job finds a child that has started: a spawned one takes seconds.
            harness.fence()
        return self._current[1]

    def stop(self) -> None:
        """Stop the worker and its receiver."""
        if self._current is not None:
            harness = self._current[1]
            self._current = None
            harness.stop()
            harness.receiver.stop()

    def _broker(self, setting: Setting) -> Broker:
        if setting.broker == "redis":
            return redis_broker(self._redis)
        # Started only where it is used: a node takes seconds.
        return rabbit_broker(self._request.getfixturevalue("rabbit_server"), self._redis)


@pytest.fixture(scope="session")
def workers(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[Workers]:
    """Whatever worker is needed next."""
    running = Workers(request, redis_server)
    yield running
    running.stop()


@pytest.fixture
def harness(setting: Setting, workers: Workers) -> Harness:
    """The running worker of the test's setting."""
    return workers.at(setting)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put all tests of one setting together, in the order of their definition."""
    order = {setting: number for number, setting in enumerate(settings())}

    def place(item: pytest.Item) -> int:
        callspec = getattr(item, "callspec", None)
        return order.get(callspec.params.get("setting"), -1) if callspec else -1

    items.sort(key=place)
