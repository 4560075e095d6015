"""Real failures of real libraries: each function fails as the library itself fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from otel_taskqueue.semconv import Category

F = TypeVar("F", bound=Callable[..., object])


class Failure(NamedTuple):
    """A call that raises, and the category that its exception must have."""

    category: Category
    call: Callable[..., object]

    @property
    def name(self) -> str:
        """As the test shows it."""
        return f"{self.call.__module__.rpartition('.')[2]}.{self.call.__name__}"


FAILURES: list[Failure] = []


def fails(category: Category) -> Callable[[F], F]:
    """Enter a function that raises into the list."""

    def enter(call: F) -> F:
        FAILURES.append(Failure(category, call))
        return call

    return enter


def caught(call: Callable[[], object]) -> BaseException:
    """What the call raises."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001  also SystemExit is looked at
        return error
    raise AssertionError(f"{call} has raised nothing")


def load() -> list[Failure]:
    """All of them."""
    from support.failures import databases, python, queues, services, web

    assert all((databases, python, queues, services, web))
    return FAILURES
