"""Fixtures that every test may use: private brokers and an OTLP receiver."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from support.otlp import Receiver
from support.servers import RabbitServer, RedisServer


def pytest_configure() -> None:
    """Started by nohup, we would hand an ignored SIGHUP on to every process under test."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A test that passed only when run again is no secret: what it said at first is printed too."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"did not pass at first: {report.nodeid}", yellow=True)
        terminalreporter.line(report.longreprtext)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis of our own for this test process."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """One RabbitMQ node of our own for this test process."""
    server = RabbitServer(tmp_path_factory.mktemp("rabbit"))
    yield server
    server.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A fresh OTLP/HTTP receiver."""
    with Receiver() as running:
        yield running
