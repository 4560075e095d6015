"""Every name that is replaced comes back; subclasses of users are covered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rq.job
import rq.queue
import rq.registry
import rq.scheduler
import rq.worker

from otel_taskqueue.rq import RQInstrumentor, ways
from otel_taskqueue.rq.owners import Owners

CLASSES = [
    rq.queue.Queue,
    rq.job.Job,
    rq.registry.StartedJobRegistry,
    rq.scheduler.RQScheduler,
    *(kind for kind in vars(rq.worker).values() if isinstance(kind, type)),
]


class Mine(rq.worker.Worker):
    """A worker of a user."""

    def perform_job(self, *args: Any, **kwargs: Any) -> bool:
        """Calls its base class."""
        return super().perform_job(*args, **kwargs)


def everything() -> dict[str, Any]:
    """What all these classes define."""
    return {
        f"{kind.__qualname__}.{name}": value
        for kind in (*CLASSES, Mine)
        for name, value in vars(kind).items()
        if callable(value) or isinstance(value, (classmethod, staticmethod))
    }


@pytest.fixture
def instrumented() -> Iterator[RQInstrumentor]:
    """RQ with us, and without us again afterwards."""
    instrumentor = RQInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


def test_uninstrument_gives_every_name_back() -> None:
    """Also class methods, and what a user's subclass overrides."""
    before = everything()
    instrumentor = RQInstrumentor()
    instrumentor.instrument()
    assert instrumentor._owners is not None
    instrumentor._owners.adopt(Mine)
    changed = {name for name, value in everything().items() if before.get(name) is not value}
    assert {"Queue._enqueue_job", "Job.restore", "Mine.perform_job"} <= changed
    instrumentor.uninstrument()
    assert everything() == before


def test_instrumenting_twice_is_harmless(instrumented: RQInstrumentor) -> None:
    """One wrapper, not two."""
    once = rq.queue.Queue._enqueue_job
    instrumented.instrument()
    assert rq.queue.Queue._enqueue_job is once


def test_no_method_of_a_worker_is_wrapped_twice(instrumented: RQInstrumentor) -> None:
    """Each is patched on the class that defines it."""
    assert instrumented._owners is not None
    instrumented._owners.adopt(Mine)
    for kind in (*CLASSES, Mine):
        for value in vars(kind).values():
            inner = getattr(value, "__wrapped__", None)
            if hasattr(value, "__otel_taskqueue_active__"):
                assert not hasattr(inner, "__otel_taskqueue_active__"), value


def wrapped(seen: list[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A wrapper that tells of each call."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            seen.append(original.__qualname__)
            return original(*args)

        return call

    return wrapper


def test_a_method_is_patched_on_every_class_that_defines_it() -> None:
    """Each once, and given back."""

    class Base:
        def work(self) -> str:
            return "base"

    class Child(Base):
        def work(self) -> str:
            return "child of " + super().work()

    seen: list[str] = []
    owners = Owners({"work": wrapped(seen)})
    for _ in range(2):
        owners.adopt(Child)
    assert Child().work() == "child of base"
    assert [name.rpartition("<locals>.")[2] for name in seen] == ["Child.work", "Base.work"]
    owners.restore()
    assert (Child().work(), len(seen)) == ("child of base", 2)


def test_what_user_code_enqueues_is_new_whatever_rq_was_doing() -> None:
    """A callback in the middle of a retry."""

    def retry(_job: Any) -> list[str]:
        inside = [ways.current().name]
        token = ways.user_code()
        inside.append(ways.current().name)
        ways.leave_user_code(token)
        return [*inside, ways.current().name]

    assert ways.marked(ways.RETRY, 0)(retry)("job") == ["retry", "new", "retry"]
    assert ways.current().name == "new"
