"""Our read-only view of one job: plain values, no library object, nothing computed twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext


class Broker(NamedTuple):
    """Where messages go: what the conventions call the messaging system, without credentials."""

    system: str
    address: str | None = None
    port: int | None = None


class JobView(NamedTuple):
    """One enqueued unit: a Celery task message or an RQ job.

    ``eta`` is RFC 3339 text. ``attempt`` counts from 1. ``worker`` is empty on the publishing side.
    ``arguments`` holds the already bounded and redacted text of args and kwargs, when asked for.
    """

    library: str
    broker: Broker
    task: str
    id: str
    queue: str
    attempt: int = 1
    conversation_id: str | None = None
    group_id: str | None = None
    eta: str | None = None
    redelivered: bool = False
    worker: str | None = None
    wait: float | None = None
    arguments: tuple[str, str] | None = None


class Current(NamedTuple):
    """The attempt that is running in this context.

    ``carrier`` is what its message carried, so that a retry can hand it on unchanged;
    ``span_context`` is None while nothing of it is recorded. ``serial`` names it to the worker's
    parent (None: this process reports on it).
    """

    job: JobView
    carrier: dict[str, str]
    span_context: SpanContext | None
    serial: int | None = None
