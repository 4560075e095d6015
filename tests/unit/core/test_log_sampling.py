"""Sampling of log lines by job: who decides, what is held, and what becomes of it at the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import context

from otel_taskqueue.core import attempts, delivery
from otel_taskqueue.core.failure import SUCCESS, Verdict
from otel_taskqueue.core.job import Broker, Current, JobView
from otel_taskqueue.core.logs import sampling
from otel_taskqueue.core.relay import held
from otel_taskqueue.core.relay.held import Held
from otel_taskqueue.semconv import Outcome

FAILURE = Verdict(Outcome.FAILURE)
KEY = context.create_key("test")


@pytest.fixture(autouse=True)
def nobody_is_sampled() -> Iterator[None]:
    """All lines below WARNING are held."""
    sampling.start(0.0, lambda: None)
    yield
    sampling.start(1.0, lambda: None)


@pytest.fixture
def shipped() -> list[str]:
    """What was shipped, and in which context."""
    return []


def write(shipped: list[str], message: str, job: str | None = "a", level: int = logging.INFO) -> None:
    """Write a line about a job."""
    record = logging.LogRecord("shop", level, __file__, 1, message, (), None)
    if job is not None:
        vars(record)["messaging.message.id"] = job
    sampling.gate(record, lambda it: shipped.append(f"{it.getMessage()}{context.get_value(KEY) or ''}"))


def test_a_share_of_the_jobs_is_sampled_and_all_processes_agree() -> None:
    """The id alone decides; ids that count up are as good as random ones."""
    jobs = [f"job-{number}" for number in range(10_000)]
    found = {job for job in jobs if sampling.is_sampled(job, 0.2)}

    assert 1_800 < len(found) < 2_200
    assert found == {job for job in jobs if sampling.is_sampled(job, 0.2)}
    assert found < {job for job in jobs if sampling.is_sampled(job, 0.3)}
    assert not any(sampling.is_sampled(job, 0) for job in jobs)
    assert all(sampling.is_sampled(job, 1) for job in jobs)


def test_warnings_and_lines_of_no_job_are_never_held(shipped: list[str]) -> None:
    """Whatever the share is."""
    write(shipped, "important", level=logging.WARNING)
    write(shipped, "of the worker", job=None)

    assert ["important", "of the worker"] == shipped


@pytest.mark.parametrize(
    "outcome", [None, *[outcome for outcome in Outcome if outcome is not Outcome.SUCCESS]]
)
def test_what_was_held_is_shipped_when_the_attempt_was_no_success(
    shipped: list[str], outcome: Outcome | None
) -> None:
    """In its order, in the context in which it was written, and of this job only."""
    token = context.attach(context.set_value(KEY, "!"))
    write(shipped, "one")
    context.detach(token)
    write(shipped, "two")
    write(shipped, "other", job="b")
    assert [] == shipped
    sampling.ended("a", Verdict(outcome) if outcome else None)
    sampling.ended("a", FAILURE)

    assert ["one!", "two"] == shipped


def test_what_was_held_is_dropped_when_the_attempt_was_a_success(shipped: list[str]) -> None:
    """The next attempt of the same id begins anew."""
    write(shipped, "one")
    sampling.ended("a", SUCCESS)
    sampling.ended("a", FAILURE)

    assert [] == shipped


def test_the_oldest_lines_of_a_job_drop_and_are_counted_when_they_are_missed(shipped: list[str]) -> None:
    """A success misses none."""
    before = delivery.dropped().get("logs", 0)
    for job, verdict in (("good", SUCCESS), ("bad", FAILURE)):
        for number in range(sampling.MOST + 3):
            write(shipped, str(number), job)
        sampling.ended(job, verdict)

    assert [str(number) for number in range(3, sampling.MOST + 3)] == shipped
    assert 3 == delivery.dropped()["logs"] - before


def test_a_line_that_cannot_be_shipped_does_not_keep_the_others_back(
    shipped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of a handler is ours."""
    monkeypatch.setattr("otel_taskqueue.core.guard._raise_errors", False)
    record = logging.makeLogRecord({"messaging.message.id": "a", "levelno": logging.INFO})

    def refuse(_record: logging.LogRecord) -> None:
        raise ValueError("no")

    sampling.gate(record, refuse)
    write(shipped, "two")
    sampling.ended("a", FAILURE)

    assert ["two"] == shipped


def test_without_sampling_nothing_is_held(shipped: list[str]) -> None:
    """And nobody looks at ids."""
    sampling.start(1.0, lambda: None)
    write(shipped, "one")

    assert ["one"] == shipped


class Frames:
    """Held frames of a parent, and what was forwarded."""

    def __init__(self) -> None:
        self.forwarded: list[tuple[int, bytes]] = []
        self.held = Held(lambda index, body: self.forwarded.append((index, body)))


@pytest.fixture
def frames() -> Frames:
    """Nothing held yet."""
    return Frames()


def opened() -> int:
    """The serial of an attempt in flight."""
    made: Any = None
    return attempts.open_attempt(made, lambda _attempt: made).serial


def test_frames_pass_or_drop_with_their_attempt_and_so_do_late_ones(frames: Frames) -> None:
    """The end of the attempt travels on another lane than its lines."""
    bad, good = opened(), opened()
    for serial in (bad, good):
        frames.held.add(serial, 0, b"%d" % serial)
    assert [] == frames.forwarded
    assert (0, 0) == (frames.held.settle(bad, keep=True), frames.held.settle(good, keep=False))
    for serial in (bad, good):
        frames.held.add(serial, 1, b"late")

    assert [(0, b"%d" % bad), (1, b"late")] == frames.forwarded


def test_frames_of_nobody_are_not_held(frames: Frames) -> None:
    """An attempt that was settled without a word, or never was."""
    frames.held.add(10**9, 0, b"x")

    assert 0 == frames.held.settle(10**9, keep=True)
    assert [] == frames.forwarded


@pytest.mark.parametrize(("count", "size"), [(held.MOST + 7, 10), (100, 64 * 1024)])
def test_the_oldest_frames_drop_when_they_are_too_many_or_too_large(
    frames: Frames, count: int, size: int
) -> None:
    """A thousand of them, and 4 MiB."""
    serial = opened()
    for number in range(count):
        frames.held.add(serial, number, b"x" * size)
    missing = frames.held.settle(serial, keep=True)

    assert missing == count - len(frames.forwarded) > 0
    assert list(range(missing, count)) == [index for index, _ in frames.forwarded]
    assert sum(len(body) for _, body in frames.forwarded) <= 4 * 1024 * 1024


def test_a_relaying_child_marks_the_line_with_its_attempt(
    shipped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is emitted at once; the parent holds it."""
    from otel_taskqueue.core.relay import channel

    job = JobView("celery", Broker("redis"), "shop.pay", "a", "q")
    sampling.start(0.0, lambda: Current(job, {}, None, serial=7))
    monkeypatch.setattr(channel, "_open", object())
    record = logging.makeLogRecord({"messaging.message.id": "a", "levelno": logging.INFO})
    sampling.gate(record, lambda _record: shipped.append(str(channel._holding.get())))

    assert ["7"] == shipped
    assert channel._holding.get() is None
