"""Why RQ enqueues a job: the same two methods serve a new job, a retry, a repeat, a move and a release."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_taskqueue.rq.notes import argument

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

RETRY: Final = "retry"
REPEAT: Final = "repeat"
#: A scheduler brings a job whose time has come: no message is new.
MOVE: Final = "move"
#: A job has ended and those which waited for it are enqueued: no message is new.
RELEASE: Final = "release"
#: `enqueue_many` creates and saves jobs with dependencies before it looks at these.
MANY: Final = "many"


class Way(NamedTuple):
    """What RQ is doing, for which job, and (MANY) the blocks which end with the call."""

    name: str
    job: Any = None
    blocks: ExitStack | None = None


_NEW: Final = Way("new")
_way: ContextVar[Way] = ContextVar("otel-taskqueue-rq-way", default=_NEW)


def current() -> Way:
    """What RQ is doing in this context."""
    return _way.get()


def marked(name: str, index: int | None = None) -> Wrapper:
    """Wrap a method of RQ in which jobs are enqueued for a reason; ``index``: where its job stands."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def on_its_way(*args: Any, **kwargs: Any) -> Any:
            job = None if index is None else argument(args, kwargs, "job", index)
            token = _way.set(Way(name, job))
            try:
                return original(*args, **kwargs)
            finally:
                _way.reset(token)

        return on_its_way

    return wrapper


@contextmanager
def many() -> Generator[None]:
    """`enqueue_many` runs: its messages leave at its end, or none of them does."""
    with ExitStack() as blocks:
        token = _way.set(Way(MANY, blocks=blocks))
        try:
            yield
        finally:
            _way.reset(token)


def user_code() -> Any:
    """User code begins: what it enqueues is new. Give the result to `leave_user_code`."""
    return _way.set(_NEW)


def leave_user_code(token: Any) -> None:
    """User code has ended."""
    _way.reset(token)
