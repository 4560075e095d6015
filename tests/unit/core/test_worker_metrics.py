"""What a worker tells of itself: up, slots, and how its child processes ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from otel_taskqueue import meters, semconv
from otel_taskqueue.core import worker
from otel_taskqueue.core.worker import Worker, Workers
from support.points import Metered

ABOUT = {semconv.SYSTEM: "celery", semconv.WORKER_NAME: "w1"}


@pytest.fixture
def metered() -> Metered:
    """A meter provider of its own."""
    return Metered()


@pytest.fixture
def workers(metered: Metered) -> Workers:
    """Nobody works yet."""
    return Workers(metered.provider.get_meter("test"))


def test_a_worker_is_up_until_it_leaves(metered: Metered, workers: Workers) -> None:
    """Before it starts there is no series, after its stop it is 0 and stays so."""
    assert metered.values(meters.WORKER_UP) == []
    found = Worker("celery", "w1")
    workers.enter(found)
    assert metered.values(meters.WORKER_UP) == [(ABOUT, 1)]
    workers.leave(found)
    assert metered.values(meters.WORKER_UP) == [(ABOUT, 0)]


def test_a_worker_that_left_has_no_slots(metered: Metered, workers: Workers) -> None:
    """And one that does not know its slots has none either."""
    found = Worker("celery", "w1", slots=lambda: 4, used=lambda: 1)
    workers.enter(found)
    assert metered.values(meters.WORKER_SLOTS) == [(ABOUT, 4)]
    assert metered.values(meters.WORKER_SLOTS_USED) == [(ABOUT, 1)]
    assert metered.values(meters.WORKER_PREFETCHED) == []
    workers.leave(found)
    assert metered.values(meters.WORKER_SLOTS) == []
    assert metered.values(meters.WORKER_SLOTS_USED) == []


def test_a_question_that_fails_leaves_the_others_answered(metered: Metered, workers: Workers) -> None:
    """The pool may be gone in this very moment."""

    def fail() -> int:
        raise AttributeError("no pool")

    workers.enter(Worker("celery", "w1", slots=fail))
    workers.enter(Worker("rq", "w2", slots=lambda: 1))
    assert metered.values(meters.WORKER_SLOTS) == [({semconv.SYSTEM: "rq", semconv.WORKER_NAME: "w2"}, 1)]


def test_exits_are_counted_by_reason(metered: Metered, workers: Workers) -> None:
    """One series for each reason."""
    for reason in (worker.RECYCLED, "SIGKILL", worker.RECYCLED):
        workers.exited("celery", "w1", reason)
    assert metered.values(meters.WORKER_EXITS) == [
        ({**ABOUT, semconv.EXIT_REASON: "recycled"}, 2),
        ({**ABOUT, semconv.EXIT_REASON: "SIGKILL"}, 1),
    ]


def test_a_forked_process_is_no_worker(metered: Metered, workers: Workers) -> None:
    """What it inherited is its parent's."""
    workers.enter(Worker("celery", "w1"))
    workers.exited("celery", "w1", worker.OK)
    workers.clear()
    assert metered.values(meters.WORKER_UP) == []
    assert metered.values(meters.WORKER_EXITS) == []


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda: os._exit(0), worker.OK),
        (lambda: os._exit(3), worker.EXIT_CODE),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "SIGTERM"),
    ],
    ids=["ok", "exit code", "SIGKILL", "SIGTERM"],
)
def test_the_reason_is_in_the_wait_status(end: Callable[[], None], reason: str) -> None:
    """As the kernel tells it."""
    pid = os.fork()
    if pid == 0:
        end()
        os._exit(99)
    _, status = os.waitpid(pid, 0)
    assert worker.reason_of(status) == reason
    if reason == "SIGKILL":
        assert worker.reason_of(status, oom=True) == worker.OOM


def test_a_status_that_nobody_knows_is_an_exit() -> None:
    """Somebody else has waited for the child."""
    assert worker.reason_of(None) == worker.EXIT_CODE
