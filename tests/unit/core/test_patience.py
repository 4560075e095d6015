"""The ends of processes that wait for one another share the time which they wait in vain."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_taskqueue.core.sdk import patience
from otel_taskqueue.core.sdk.patience import Patience, Waits


class Clock:
    """The time, as a test says it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: self.now))

    def go_on(self, waits: Waits, seconds: float, limit: float = 0.6) -> None:
        """An end waits so long, in vain."""
        self.now += seconds
        waits.go_on(limit)


def test_what_one_process_waits_in_vain_is_off_the_next_one_s_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A scheduler, then its worker, then the pool: together as long as one."""
    clock, waits = Clock(monkeypatch), Waits()
    assert Patience(0.6, 0.3, waits).left() == pytest.approx(0.18)
    clock.go_on(waits, 0.2)
    assert Patience(0.6, waits=waits).left() == pytest.approx(0.4)
    clock.go_on(waits, 0.4)
    clock.now += 1.2  # a pool naps
    assert Patience(0.6, waits=waits).left() == pytest.approx(0.1)


def test_who_only_tries_is_no_reason_for_others_to_try_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known for two seconds that nobody answers, however many ends there are within these."""
    clock, waits = Clock(monkeypatch), Waits()
    Patience(0.6, waits=waits)
    clock.go_on(waits, 0.6)
    left = []
    for _ in range(4):
        left.append(round(Patience(0.6, waits=waits).left(), 3))
        clock.go_on(waits, 0.1)
        clock.now += 0.6
    assert left == [0.1, 0.1, 0.1, 0.6]


def test_after_an_answer_everybody_has_all_of_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was answered; an end with nothing to say tells nothing."""
    clock, waits = Clock(monkeypatch), Waits()
    first = Patience(0.6, waits=waits)
    clock.go_on(waits, 0.5)
    second = Patience(0.6, waits=waits)
    first.ask(BatchSpanProcessor(InMemorySpanExporter()), lambda: None)
    assert second.left() == pytest.approx(0.1)
    clock.now += 0.05
    batch = BatchSpanProcessor(InMemorySpanExporter())
    provider = TracerProvider()
    provider.add_span_processor(batch)
    provider.get_tracer("shop").start_span("x").end()
    first.ask(batch, batch.shutdown)
    assert second.left() == pytest.approx(0.6)
    assert Patience(0.6, waits=waits).left() == pytest.approx(0.6)


def test_forked_processes_know_of_each_other() -> None:
    """The child waits in vain, its parent has waited too."""
    waits = Waits()
    child_pid = os.fork()
    if child_pid == 0:
        Patience(0.6, waits=waits)
        time.sleep(0.2)
        waits.go_on(0.6)
        os._exit(0)
    os.waitpid(child_pid, 0)
    assert Patience(0.6, waits=waits).left() < 0.45
