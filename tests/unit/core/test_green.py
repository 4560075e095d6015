"""Exporters over gRPC after monkey patching: their calls leave the thread that has the greenlets."""

from __future__ import annotations

import _thread
import threading
from typing import Any

import pytest
from opentelemetry.context import attach, detach, get_value, set_value

from otel_taskqueue.core.sdk import green


class Stub:
    """As gRPC makes it for a channel."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.calls: list[tuple[Any, int, object]] = []

    def Export(self, request: Any, timeout: float) -> Any:  # noqa: N802  gRPC's name
        """Tell who called."""
        self.calls.append((request, threading.get_ident(), get_value("mark")))
        if timeout < 0:
            raise TimeoutError(request)
        return f"{request} by {self.channel}"


class Exporter:
    """An exporter over gRPC, as far as matters here."""

    _stub = Stub

    def __init__(self) -> None:
        self.stub = self._client = self._stub("the first")

    def connect_anew(self) -> None:
        """As the real one does when the collector was away."""
        self._client = self._stub("the second")

    def export(self, request: str, timeout: float = 1.0) -> Any:
        """Export something."""
        return self._client.Export(request, timeout=timeout)


class Wrapping:
    """An exporter of the user."""

    def __init__(self, other: Exporter) -> None:
        self.other = other


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Everything is patched: what starts a native thread is not what everybody else gets."""
    threads: list[int] = []

    def start_native(function: Any, args: tuple[Any, ...]) -> int:
        threads.append(_thread.start_new_thread(function, args))
        return threads[-1]

    monkeypatch.setattr(green, "_start_native", start_native)
    return threads


def test_a_call_is_made_in_a_thread_of_its_own_with_the_callers_context(started: list[int]) -> None:
    """The context says that nobody shall make a span of the call."""
    exporter = Exporter()
    green._keep_off_the_hub(exporter)
    token = attach(set_value("mark", "ours"))
    try:
        assert exporter.export("one") == "one by the first"
    finally:
        detach(token)
    ((request, ident, mark),) = exporter.stub.calls
    assert (request, mark) == ("one", "ours")
    assert [ident] == started
    assert ident != threading.get_ident()


def test_what_a_call_raises_reaches_the_exporter(started: list[int]) -> None:
    """It decides about retries."""
    exporter = Exporter()
    green._keep_off_the_hub(exporter)
    with pytest.raises(TimeoutError, match="late"):
        exporter.export("late", timeout=-1)
    assert len(started) == 1


def test_also_over_a_channel_that_was_made_later(started: list[int]) -> None:
    """When a collector is back the exporter makes a new stub."""
    exporter = Exporter()
    green._keep_off_the_hub(exporter)
    exporter.connect_anew()
    assert exporter.export("two") == "two by the second"
    assert len(started) == 1


def test_once_for_each_call_however_often_everything_is_patched(started: list[int]) -> None:
    """And in whatever exporter it hides."""
    exporter = Exporter()
    for _ in range(2):
        green._keep_off_the_hub(Wrapping(exporter))
        green._keep_off_the_hub(exporter)
    exporter.export("one")
    exporter.connect_anew()
    exporter.export("two")
    assert len(started) == 2


def test_where_threads_are_not_patched_nothing_changes() -> None:
    """`patch_all(thread=False)`: the SDK's threads are native."""
    exporter = Exporter()
    green._keep_off_the_hub(exporter)
    assert exporter._client is exporter.stub
