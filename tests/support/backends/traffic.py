"""Traces of which it is known what is special about them, with the names that the package emits.

Each is a web request that enqueues a job (sent at once) and what the worker tells of that job (sent later).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from otel_taskqueue import semconv
from otel_taskqueue.meters import RUNS
from otel_taskqueue.semconv import Outcome

TASK = "shop.charge"
QUEUE = "payments"
SECOND = 1_000_000_000
MILLISECOND = 1_000_000
BATCH = 512
COUNTED_AT_ONCE = 25


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went; ``seconds`` it ran, ``waited`` seconds before."""

    outcome: Outcome = Outcome.SUCCESS
    error: str = ""
    failed: bool = False
    retried: bool = False
    seconds: float = 0.05
    waited: float = 0.01


PLAIN = "plain"
#: The web request failed, the job did not.
BROKEN = "broken"
#: The kinds of traces, by what is special about them; the thresholds are those of sampling.yaml.
KINDS: Mapping[str, tuple[Attempt, ...]] = {
    PLAIN: (Attempt(),),
    "failed": (Attempt(Outcome.FAILURE, "ValueError", failed=True),),
    "expected": (Attempt(Outcome.FAILURE, "shop.SoldOut"),),
    "retried": (Attempt(Outcome.RETRY, "ConnectionError", retried=True), Attempt()),
    "killed": (Attempt(Outcome.LOST, "SIGKILL", failed=True),),
    "timeout": (Attempt(Outcome.TIMEOUT, "TimeLimitExceeded", failed=True),),
    "waited": (Attempt(waited=30.0),),
    "slow": (Attempt(seconds=60.1),),
    "almost waited": (Attempt(waited=29.9),),
    "almost slow": (Attempt(seconds=59.9),),
    BROKEN: (Attempt(),),
}
SPECIAL = tuple(kind for kind in KINDS if kind != PLAIN and not kind.startswith("almost"))


@dataclass(slots=True)
class Trace:
    """One trace in two parts, and what it is."""

    kind: str
    trace_id: str = ""
    request: list[ReadableSpan] = field(default_factory=list)
    job: list[ReadableSpan] = field(default_factory=list)

    @property
    def span_ids(self) -> set[str]:
        """All of it."""
        return ids(self.request) | ids(self.job)


def ids(spans: Iterable[ReadableSpan]) -> set[str]:
    """Their ids as lower-case hex."""
    return {f"{span.context.span_id:016x}" for span in spans}


class Traffic:
    """Makes traces and sends their parts to one OTLP/gRPC endpoint."""

    def __init__(self, endpoint: str, traceback: int = 0) -> None:
        """``traceback``: bytes of it on each failed attempt."""
        self._traceback = "x" * traceback
        self._web, self._web_spans = _provider("web")
        self._worker, self._worker_spans = _provider("worker")
        self._exporter = OTLPSpanExporter(endpoint=f"http://{endpoint}", insecure=True, timeout=30)

    def make(self, counts: Mapping[str, int]) -> list[Trace]:
        """So many traces of each kind."""
        return [self._trace(kind) for kind, count in counts.items() for _ in range(count)]

    def send_requests(self, traces: Sequence[Trace]) -> None:
        """Send what the web application tells."""
        self.send(span for trace in traces for span in trace.request)

    def send_jobs(self, traces: Sequence[Trace]) -> None:
        """Send what the worker tells."""
        self.send(span for trace in traces for span in trace.job)

    def send(self, spans: Iterable[ReadableSpan]) -> None:
        """Send in batches as large as the SDK's; every one is accepted."""
        rest = iter(spans)
        while batch := list(islice(rest, BATCH)):
            assert self._exporter.export(batch) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()

    def _trace(self, kind: str) -> Trace:
        trace = Trace(kind)
        now = time.time_ns()
        request = self._web.start_span("POST /orders", kind=SpanKind.SERVER, start_time=now)
        at = set_span_in_context(request)
        send = self._web.start_span(
            f"send {TASK}", at, SpanKind.PRODUCER, attributes=_job("send"), start_time=now
        )
        send.end(now + MILLISECOND)
        if kind == BROKEN:
            request.set_status(Status(StatusCode.ERROR))
        request.end(now + 2 * MILLISECOND)
        at = set_span_in_context(send)
        for number, attempt in enumerate(KINDS[kind], 1):
            self._attempt(attempt, number, at, now)
        trace.trace_id = f"{send.get_span_context().trace_id:032x}"
        trace.request = _take(self._web_spans)
        trace.job = _take(self._worker_spans)
        return trace

    def _attempt(self, attempt: Attempt, number: int, at: Any, now: int) -> None:
        start = now + int(attempt.waited * SECOND)
        end = start + int(attempt.seconds * SECOND)
        attributes = {
            **_job("process"),
            semconv.TASK_ATTEMPT: number,
            semconv.TASK_OUTCOME: attempt.outcome.value,
            semconv.TASK_WAIT: attempt.waited,
            **({semconv.ERROR_TYPE: attempt.error} if attempt.error else {}),
        }
        process = self._worker.start_span(
            f"process {TASK}", at, SpanKind.CONSUMER, attributes=attributes, start_time=start
        )
        query = self._worker.start_span("SELECT", set_span_in_context(process), start_time=start)
        query.end(start + MILLISECOND)
        if attempt.failed:
            process.set_status(Status(StatusCode.ERROR))
            details = {
                semconv.EXCEPTION_TYPE: attempt.error,
                semconv.EXCEPTION_STACKTRACE: self._traceback,
            }
            process.add_event(semconv.EVENT_EXCEPTION, details, timestamp=end)
        if attempt.retried:
            process.add_event(semconv.EVENT_RETRY, {semconv.TASK_ATTEMPT: number + 1}, timestamp=end)
        process.end(end)


class Counted:
    """The package's counter of attempts in a worker that sends it often; ``runs`` is what it should say."""

    def __init__(self, endpoint: str) -> None:
        exporter = OTLPMetricExporter(endpoint=f"http://{endpoint}", insecure=True, timeout=30)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        resource = Resource.create({"service.name": "worker"})
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(semconv.SCOPE)
        self._counter = meter.create_counter(RUNS.name, RUNS.unit, RUNS.meaning)
        self.runs: Counter[object] = Counter()

    def count(self, traces: Sequence[Trace]) -> None:
        """Count the attempts of these traces, and tell the value each few of them."""
        for number, trace in enumerate(traces, 1):
            for attempt in KINDS[trace.kind]:
                outcome = attempt.outcome.value
                self._counter.add(1, {semconv.TASK_NAME: TASK, semconv.TASK_OUTCOME: outcome})
                self.runs[outcome] += 1
            if number % COUNTED_AT_ONCE == 0 or number == len(traces):
                assert self._provider.force_flush()


def _job(operation: str) -> dict[str, Any]:
    return {
        semconv.MESSAGING_SYSTEM: "redis",
        semconv.MESSAGING_OPERATION_NAME: operation,
        semconv.MESSAGING_OPERATION_TYPE: operation,
        semconv.MESSAGING_DESTINATION_NAME: QUEUE,
        semconv.TASK_NAME: TASK,
    }


def _provider(service: str) -> tuple[Any, InMemorySpanExporter]:
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    kept = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return provider.get_tracer(semconv.SCOPE), kept


def _take(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    taken = list(spans.get_finished_spans())
    spans.clear()
    return taken
