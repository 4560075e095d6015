"""What an attempt was and how it ended, as plain values: enough for every metric of it.

The process that ran it fills it in; a child sends it to the worker's parent, which counts (D4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_taskqueue.core import carrier as _carrier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.job import JobView


class Usage(NamedTuple):
    """What an attempt used: processor time (s), largest and added resident memory (bytes).

    None: not known.
    """

    cpu: float | None = None
    peak: int | None = None
    growth: int | None = None


class Result(NamedTuple):
    """One attempt that ended.

    Times are unix nanoseconds; ``start`` 0: it never started. ``wait`` is in seconds, ``first`` is
    when the job was enqueued for the first time (0: not known). ``outcome`` None: the worker's
    parent judges. ``span`` is trace id, span id and flags of the recorded span.
    """

    library: str
    system: str
    queue: str
    task: str
    attempt: int
    start: int
    end: int
    wait: float | None = None
    first: int = 0
    outcome: str | None = None
    error_type: str | None = None
    category: str | None = None
    final: bool = False
    usage: tuple[float | None, int | None, int | None] | None = None
    span: tuple[int, int, int] | None = None


def of_job(job: JobView, carrier: Mapping[str, str], start: int, end: int) -> Result:
    """The result of this job's attempt, without a word on how it ended."""
    first = _carrier.first_enqueued_at(carrier)
    return Result(
        job.library, job.broker.system, job.queue, job.task, job.attempt, start, end, job.wait, first
    )


def judged(result: Result, verdict: Verdict) -> Result:
    """The same with this verdict."""
    return result._replace(
        outcome=verdict.outcome.value,
        error_type=verdict.error_type,
        category=getattr(verdict, "category", None),
        final=verdict.is_final,
    )


def span_of(context: SpanContext | None) -> tuple[int, int, int] | None:
    """A span context as plain values; None when nothing is recorded of it."""
    if context is None or not context.trace_flags.sampled:
        return None
    return (context.trace_id, context.span_id, int(context.trace_flags))
