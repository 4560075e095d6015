"""Our errors stay ours; what a signal handler raises belongs to the application."""

from __future__ import annotations

import logging

import pytest

from otel_taskqueue.core import arbiter, delivery, guard
from otel_taskqueue.core.attempts import Attempt
from otel_taskqueue.core.failure import Verdict
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.semconv import Outcome
from support.relay_worker import Worker


class LimitError(Exception):
    """A time limit."""


class StopError(Exception):
    """A signal handler stops the worker, as RQ's `StopRequested`."""


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are registered, for this test alone."""
    for name in ("_control", "_stops"):
        monkeypatch.setattr(guard, name, ())
    monkeypatch.setattr(guard, "_last_report", {})
    guard.let_pass(LimitError)
    guard.let_stop(StopError)


def raised(error: BaseException, *, leaving: bool) -> BaseException | None:
    """What comes out of a guarded place in which this is raised."""
    try:
        with Guarded("place", leaving=leaving):
            raise error  # noqa: TRY301
    except BaseException as seen:  # noqa: BLE001
        return seen
    return None


@pytest.mark.parametrize(
    ("error", "on_the_way_in", "on_the_way_out"),
    [
        (ValueError("ours"), False, False),
        (LimitError("limit"), True, False),
        (StopError("stop"), True, True),
        (SystemExit(1), True, True),
        (KeyboardInterrupt(), True, True),
    ],
)
def test_what_passes(error: BaseException, *, on_the_way_in: bool, on_the_way_out: bool) -> None:
    """A limit after the result is stored would contradict it; a swallowed stop would never stop."""
    assert (raised(error, leaving=False) is error) is on_the_way_in
    assert (raised(error, leaving=True) is error) is on_the_way_out


def test_an_error_of_ours_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """For each place."""
    with caplog.at_level(logging.ERROR, "otel_taskqueue"):
        for site in ("one", "one", "two"):
            with Guarded(site):
                raise ValueError(site)
    assert [record.args[0] for record in caplog.records] == ["one", "two"]


def test_a_stop_in_the_middle_of_a_verdict_loses_neither(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ stops the worker while the parent writes what became of a work-horse."""
    attempt = worker.open()
    alone = delivery.alone
    calls: list[Attempt] = []

    def interrupted(attempt: Attempt, *rest: object) -> None:
        calls.append(attempt)
        if len(calls) == 1:
            raise StopError
        alone(attempt, *rest)

    monkeypatch.setattr(delivery, "alone", interrupted)
    with pytest.raises(StopError):
        arbiter.overrule(attempt, Verdict(Outcome.LOST), reaped=True)
    assert len(worker.finished()) == 1
