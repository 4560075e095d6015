"""The instruments, created once for each meter provider, and what is recorded in them.

An attempt is counted once, in the worker's parent (D4): `Metrics.ended`. Nothing here is an id,
a pid or a host, and every attribute has a bounded number of values.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Observation
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_taskqueue import meters, semconv
from otel_taskqueue.core import attempts, delivery, instruments
from otel_taskqueue.core.result import Usage
from otel_taskqueue.core.tally import Bound, Tally
from otel_taskqueue.core.worker import Workers
from otel_taskqueue.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions

    from otel_taskqueue.core.job import JobView
    from otel_taskqueue.core.result import Result

#: Not empty: the SDK takes the current context in the place of an empty one.
_NO_SPAN: Final = trace.set_span_in_context(trace.INVALID_SPAN, Context())
MOST_QUEUES: Final = 64
MOST_TASKS: Final = 256
MOST_ERRORS: Final = 64
#: Names in messages that never became a job: anybody can make them up, and none may take a task's place.
MOST_STRANGERS: Final = 32
_NO_JOB: Final = frozenset({semconv.Outcome.UNKNOWN.value, semconv.Outcome.REJECTED.value})


class Kind(NamedTuple):
    """What all points about one task on one queue have in common."""

    system: str
    library: str
    queue: str
    task: str


class End(NamedTuple):
    """A kind of task and how an attempt ended."""

    kind: Kind
    outcome: str
    error_type: str | None
    category: str | None


class Metrics:
    """All instruments of one meter provider (None: the global one, whenever it is set)."""

    def __init__(self, provider: Any = None) -> None:
        meter = metrics.get_meter(semconv.SCOPE, __version__, provider, semconv.SCHEMA_URL)
        self.meter = meter
        self._queues, self._tasks, self._errors = Bound(MOST_QUEUES), Bound(MOST_TASKS), Bound(MOST_ERRORS)
        self._strangers = Bound(MOST_STRANGERS)
        self._kind = functools.lru_cache(4096)(self._bounded_kind)
        self._shared = functools.lru_cache(4096)(_shared)
        self._seen: set[Kind] = set()
        self.workers = Workers(meter)
        self._consumed: Tally[Kind] = Tally(_of_message)
        self._runs: Tally[End] = Tally(_of_run)
        self._duplicates: Tally[Kind] = Tally(_shared)
        instruments.observable_counter(meter, meters.CONSUMED, self._consumed.observe)
        instruments.observable_counter(meter, meters.RUNS, self._runs.observe)
        instruments.observable_counter(meter, meters.DUPLICATES, self._duplicates.observe)
        instruments.observable_counter(meter, meters.DROPPED, _observe_dropped)
        self._sent = meter.create_counter(meters.SENT.name, meters.SENT.unit, meters.SENT.meaning)
        self._sending = instruments.histogram(meter, meters.SEND_DURATION)
        self._duration = instruments.histogram(meter, meters.PROCESS_DURATION)
        self._wait = instruments.histogram(meter, meters.WAIT_DURATION)
        self._total = instruments.histogram(meter, meters.TOTAL_DURATION)
        self._attempts = instruments.histogram(meter, meters.TASK_ATTEMPTS)
        self._cpu = instruments.histogram(meter, meters.CPU_TIME)
        self._peak = instruments.histogram(meter, meters.MEMORY_PEAK)
        self._growth = instruments.histogram(meter, meters.MEMORY_GROWTH)
        meter.create_observable_up_down_counter(
            meters.ACTIVE.name, [self._observe_active], meters.ACTIVE.unit, meters.ACTIVE.meaning
        )
        instruments.gauge(meter, meters.ACTIVE_MAX_AGE, self._observe_max_age)

    def sent(self, job: JobView, seconds: float, error_type: str | None, context: Context) -> None:
        """An enqueue call has returned or raised; ``context`` holds its span, the exemplar."""
        kind = self._kind(job.broker.system, job.library, job.queue, job.task)
        found = {**self._shared(kind), semconv.MESSAGING_OPERATION_NAME: semconv.OPERATION_SEND}
        if error_type is not None:
            found[semconv.ERROR_TYPE] = self._errors(error_type)
        self._sent.add(1, found, context)
        typed = {**found, semconv.MESSAGING_OPERATION_TYPE: semconv.OPERATION_TYPE_SEND}
        self._sending.record(seconds, typed, context)

    def ended(self, result: Result, usage: Usage | None = None) -> None:
        """An attempt has ended; ``usage`` is what the parent has measured of its process."""
        outcome, error_type = result.outcome or "", result.error_type
        strange = not result.start and outcome in _NO_JOB
        kind = self._kind(result.system, result.library, result.queue, result.task, strange)
        if error_type is not None:
            error_type = self._errors(error_type)
        self._consumed.add(kind)
        self._runs.add(End(kind, outcome, error_type, result.category))
        shared, context = self._shared(kind), _context(result.span)
        if result.start:
            seconds = max(0, result.end - result.start) / 1e9
            self._duration.record(seconds, _of_process(shared, outcome, error_type), context)
            if result.wait is not None:
                self._wait.record(result.wait, shared, context)
        if result.final:
            self._attempts.record(result.attempt, shared, context)
            if result.first:
                total = max(0, result.end - result.first) / 1e9
                self._total.record(total, {**shared, semconv.TASK_OUTCOME: outcome}, context)
        used = Usage(*result.usage) if result.usage else None
        if usage is not None:  # of the whole process; how it grew only the attempt itself knows
            used = usage._replace(growth=used.growth if used is not None else None)
        if used is not None:
            self._record_usage(used, shared, context)

    def duplicate(self, job: JobView) -> None:
        """A job was delivered again that this worker had finished."""
        self._duplicates.add(self._kind(job.broker.system, job.library, job.queue, job.task))

    def clear(self) -> None:
        """In a forked process which works on its own: what its parent counted is the parent's."""
        for tally in (self._consumed, self._runs, self._duplicates):
            tally.clear()
        self._seen.clear()
        self.workers.clear()
        delivery.forget_dropped()

    def _record_usage(self, used: Usage, shared: Mapping[str, str], context: Context) -> None:
        if used.cpu is not None:
            self._cpu.record(used.cpu, shared, context)
        if used.peak is not None:
            self._peak.record(used.peak, shared, context)
        if used.growth is not None:
            self._growth.record(used.growth, shared, context)

    def _bounded_kind(
        self,
        system: str,
        library: str,
        queue: str,
        task: str,
        strange: bool = False,  # noqa: FBT001, FBT002
    ) -> Kind:
        bound = self._strangers if strange else self._tasks
        return Kind(system, library, self._queues(queue), bound(task))

    def _observe_active(self, _options: CallbackOptions) -> Iterable[Observation]:
        running = self._running()
        self._seen.update(running)
        return [Observation(len(running.get(kind, ())), _shared(kind)) for kind in self._seen]

    def _observe_max_age(self, _options: CallbackOptions) -> Iterable[Observation]:
        ages = {kind: max(found) for kind, found in self._running().items()}
        oldest: dict[tuple[str, str], float] = {}
        for kind in {*self._seen, *ages}:
            key = (kind.library, kind.task)
            oldest[key] = max(oldest.get(key, 0.0), ages.get(kind, 0.0))
        return [
            Observation(age, {semconv.SYSTEM: library, semconv.TASK_NAME: task})
            for (library, task), age in oldest.items()
        ]

    def _running(self) -> dict[Kind, list[float]]:
        found: dict[Kind, list[float]] = defaultdict(list)
        for job, seconds in attempts.running(self):
            found[self._kind(job.broker.system, job.library, job.queue, job.task)].append(seconds)
        return found


_made: list[tuple[Any, Metrics]] = []


def of(provider: Any = None) -> Metrics:
    """The instruments of this provider; the rooms share them."""
    for known, found in _made:
        if known is provider:
            return found
    _made.append((provider, Metrics(provider)))
    return _made[-1][1]


def _observe_dropped(_options: CallbackOptions) -> Iterable[Observation]:
    found = delivery.dropped().items()
    return [Observation(count, {semconv.TELEMETRY_SIGNAL: signal}) for signal, count in found]


def _shared(kind: Kind) -> dict[str, str]:
    return {
        semconv.MESSAGING_SYSTEM: kind.system,
        semconv.SYSTEM: kind.library,
        semconv.MESSAGING_DESTINATION_NAME: kind.queue,
        semconv.TASK_NAME: kind.task,
    }


def _of_message(kind: Kind) -> dict[str, str]:
    return {**_shared(kind), semconv.MESSAGING_OPERATION_NAME: semconv.OPERATION_PROCESS}


def _of_run(end: End) -> dict[str, str]:
    found = {**_shared(end.kind), semconv.TASK_OUTCOME: end.outcome}
    if end.error_type is not None:
        found[semconv.ERROR_TYPE] = end.error_type
    if end.category is not None:
        found[semconv.FAILURE_CATEGORY] = end.category
    return found


def _of_process(shared: Mapping[str, str], outcome: str, error_type: str | None) -> dict[str, str]:
    found = {
        **shared,
        semconv.MESSAGING_OPERATION_NAME: semconv.OPERATION_PROCESS,
        semconv.TASK_OUTCOME: outcome,
    }
    if error_type is not None:
        found[semconv.ERROR_TYPE] = error_type
    return found


def _context(span: tuple[int, int, int] | None) -> Context:
    """A context that names the span as exemplar; one without a span keeps whatever is current out."""
    if span is None:
        return _NO_SPAN
    trace_id, span_id, flags = span
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return trace.set_span_in_context(NonRecordingSpan(context), Context())
