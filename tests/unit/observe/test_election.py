"""Who may report and until when, with a lock and a clock of the test's own."""

from __future__ import annotations

import pytest

from otel_taskqueue.observe import election
from otel_taskqueue.observe.election import Election, Held
from otel_taskqueue.observe.voice import Voice


class Lock:
    """A lock whose answers the test sets; an exception is raised instead of answered."""

    lease = 5.0
    pause = 3.0
    outlives_connection = True

    def __init__(self) -> None:
        self.acquired: Held | float | Exception = Held(1, 0.0)
        self.renewed: bool | Exception = True
        self.released = 0

    def acquire(self) -> Held | float:
        """The answer."""
        if isinstance(self.acquired, Exception):
            raise self.acquired
        return self.acquired

    def renew(self) -> bool:
        """The answer."""
        if isinstance(self.renewed, Exception):
            raise self.renewed
        return self.renewed

    def release(self) -> None:
        """Counted."""
        self.released += 1


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock: its one value is the time."""
    time = [100.0]
    monkeypatch.setattr(election, "clock", lambda: time[0])
    return time


@pytest.fixture
def lock() -> Lock:
    """A free lock."""
    return Lock()


def test_a_lease_ends_by_itself_before_the_lock_can_be_anothers(now: list[float], lock: Lock) -> None:
    """A process that was frozen finds it run out, before it has asked anybody."""
    elected = Election(lock, Voice(), "redis://host")
    assert elected._step() == lock.pause
    assert elected.lease() is not None
    now[0] += 4.9
    assert elected.lease() is not None
    now[0] += 0.2
    assert elected.lease() is None


def test_a_renewal_counts_from_the_moment_it_was_asked_for(
    now: list[float], lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that took two seconds gives two seconds less."""
    elected = Election(lock, Voice(), "redis://host")
    elected._step()
    now[0] += 3

    def slow() -> bool:
        now[0] += 2
        return True

    monkeypatch.setattr(lock, "renew", slow)
    elected._step()
    now[0] = 100 + 3 + 5 - 0.1
    assert elected.lease() is not None
    now[0] += 0.2
    assert elected.lease() is None


def test_who_takes_over_from_a_forgetful_broker_waits(now: list[float], lock: Lock) -> None:
    """The former leader may still believe in its lease."""
    lock.acquired = Held(1, 5.0)
    elected = Election(lock, Voice(), "redis://host")
    elected._step()
    assert elected.lease() is None
    now[0] += 3
    elected._step()
    assert elected.lease() is None
    now[0] += 2.1
    assert elected.lease() is not None


def test_a_lock_of_another_ends_the_lease_at_once(now: list[float], lock: Lock) -> None:
    """And the next step is to try again."""
    elected = Election(lock, Voice(), "redis://host")
    elected._step()
    lease = elected.lease()
    lock.renewed, lock.acquired = False, 1.5
    assert elected._step() == 0.0
    assert lease is not None
    assert not lease.holds()
    assert elected.lease() is None
    assert elected._step() == 1.5


def test_one_failed_renewal_does_not_end_a_lease_that_holds(now: list[float], lock: Lock) -> None:
    """Redis keeps the lock without a connection; when the time is up, it is over."""
    elected = Election(lock, Voice(), "redis://host")
    elected._step()
    lock.renewed = ConnectionError("away")
    now[0] += 3
    elected._step()
    assert elected.lease() is not None
    now[0] += 3
    elected._step()
    assert elected.lease() is None
    lock.acquired = 2.0
    assert elected._step() == 2.0


def test_a_broken_connection_ends_a_lease_that_lives_by_it(now: list[float], lock: Lock) -> None:
    """RabbitMQ deletes an exclusive queue with its connection."""
    lock.outlives_connection = False
    elected = Election(lock, Voice(), "amqp://host")
    elected._step()
    lock.renewed = ConnectionError("away")
    elected._step()
    assert elected.lease() is None


def test_a_broker_that_is_away_is_asked_less_and_less_often(
    now: list[float], lock: Lock, caplog: pytest.LogCaptureFixture
) -> None:
    """And told of once, and once when it is back."""
    caplog.set_level("INFO", "otel_taskqueue.observe")
    lock.acquired = ConnectionError("refused")
    elected = Election(lock, Voice(), "redis://host")
    assert [0.5, 1, 2, 4, 8, 15, 15] == [elected._step() for _ in range(7)]
    lock.acquired = Held(2, 0.0)
    elected._step()
    lines = [record.getMessage() for record in caplog.records]
    assert sum("does not answer: refused" in line for line in lines) == 1
    assert lines[-1] == "redis://host answers again"


def test_stopping_ends_the_lease_before_the_lock_is_given_up(
    lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can lead while this one could still report."""
    elected = Election(lock, Voice(), "redis://host")
    held: list[bool] = []
    monkeypatch.setattr(lock, "release", lambda: held.append(elected.lease() is not None))
    elected.start()
    while elected.lease() is None:
        assert elected.is_alive()
    elected.stop(5)
    assert held == [False]
    assert not elected.is_alive()
