"""What a room hands to the lifecycle: a message about to be sent, or one about to be processed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import Link

    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.job import Current, JobView


class Outgoing(NamedTuple):
    """A message about to be sent.

    ``retry_of`` names the running attempt that asks for the next one: the message then keeps the
    original sender's context.
    """

    job: JobView
    retry_of: Current | None = None
    first_enqueued: str | None = None
    links: Sequence[Link] = ()


class Incoming(NamedTuple):
    """A message about to be processed.

    ``serial`` names the attempt to the worker's parent (None: no parent reports on it).
    ``judge`` turns an exception that leaves the attempt into a verdict, None: the parent judges.
    ``pid`` is the process that ran it, when that is not this one. ``counts`` False: another
    process counts the attempt.
    """

    job: JobView
    carrier: dict[str, str]
    judge: Callable[[BaseException], Verdict | None]
    serial: int | None = None
    link: bool = False
    eager: bool = False
    links: Sequence[Link] = ()
    pid: int | None = None
    counts: bool = True
