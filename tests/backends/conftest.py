"""One run of the example for all tests of this folder that look at its trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.servers import RedisServer
from support.shop import Shop, open_shop


@pytest.fixture(scope="session")
def shop(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One order in a shop, and a Jaeger which has its trace."""
    with open_shop(redis_server.url(9), tmp_path_factory.mktemp("shop")) as running:
        yield running
