"""A job's callbacks where no method of RQ stands around them: `Queue.run_sync` calls them itself."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

_NAMES: Final = ("success_callback", "failure_callback")


@contextmanager
def wrapped(job: Any, wrapper: Wrapper) -> Generator[None]:
    """Within this block whoever calls a callback of the job calls it wrapped."""
    with ExitStack() as stack:
        with Guarded("callbacks"):
            for name in _NAMES:
                if getattr(job, f"_{name}_name", None):
                    stack.callback(_wrap(job, name, wrapper))
        yield


def _wrap(job: Any, name: str, wrapper: Wrapper) -> Callable[[], None]:
    """Put a call in the place of what RQ has found so far, if anything; give back what ends that."""
    kept = f"_{name}"
    own = getattr(job, kept)

    def put_back() -> None:
        setattr(job, kept, own)

    def call(*args: Any, **kwargs: Any) -> Any:
        put_back()  # RQ imports it as late as without us
        return getattr(job, name)(*args, **kwargs)

    setattr(job, kept, wrapper(call))
    return put_back
