"""The receiver: OTLP over HTTP or gRPC on one port, with a behaviour that a test can switch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from support.otlp import decode, grpc_door, http_door
from support.otlp.behaviour import Behaviour
from support.otlp.model import Inbox, LogLine, MetricPoint, Span
from support.otlp.tree import draw
from support.wait import wait_for

MESSAGE_ID = "messaging.message.id"


class Door(Protocol):
    """One running server of one protocol."""

    port: int

    def close(self) -> None:
        """Close the port and every connection."""


REQUESTS: Mapping[str, tuple[type[Any], type[Any]]] = {
    "traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "logs": (ExportLogsServiceRequest, ExportLogsServiceResponse),
    "metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
}


class Receiver:
    """Receives traces, logs and metrics; ``start`` after ``stop`` opens the same port again."""

    def __init__(self, protocol: str = "http/protobuf") -> None:
        self.protocol = protocol
        self.port = 0
        self.behaviour = Behaviour.HEALTHY
        self.latency = 0.0
        self._inbox = Inbox()
        self._lock = threading.Lock()
        self._door: Door | None = None
        self.closing = threading.Event()

    # --- its life ---------------------------------------------------------------------------
    def start(self) -> Receiver:
        """Open the port (a free one the first time)."""
        self.closing = threading.Event()
        openers: Mapping[str, Callable[[Receiver], Door]] = {
            "http/protobuf": http_door.open_door,
            "grpc": grpc_door.open_door,
        }
        self._door = openers[self.protocol](self)
        self.port = self._door.port
        return self

    def stop(self) -> None:
        """Close the port and all connections: from now on it refuses."""
        if self._door is not None:
            self.closing.set()
            self._door.close()
            self._door = None

    def behave(self, behaviour: Behaviour, latency: float = 0.0) -> None:
        """Switch what the next exports meet; ``latency`` in seconds per export."""
        self.behaviour = behaviour
        self.latency = latency

    @property
    def endpoint(self) -> str:
        """The base address for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self.port}"

    def env(self) -> dict[str, str]:
        """The environment that makes an SDK export to this receiver."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
        }

    # --- what the doors call ------------------------------------------------------------------
    def accept(self, signal: str, body: bytes) -> bytes:
        """Store one export of ``traces``, ``logs`` or ``metrics``; return the response's bytes."""
        request_type, response_type = REQUESTS[signal]
        request = request_type.FromString(body)
        with self._lock:
            inbox = self._inbox
            inbox.exports[signal] = inbox.exports.get(signal, 0) + 1
            if signal == "traces":
                inbox.spans.extend(decode.spans(request))
            elif signal == "logs":
                inbox.logs.extend(decode.logs(request))
            else:
                inbox.metrics.extend(decode.metrics(request))
        return response_type().SerializeToString()

    # --- what the tests ask -------------------------------------------------------------------
    def spans(self) -> list[Span]:
        """Every span so far."""
        with self._lock:
            return list(self._inbox.spans)

    def logs(self) -> list[LogLine]:
        """Every log record so far."""
        with self._lock:
            return list(self._inbox.logs)

    def metrics(self) -> list[MetricPoint]:
        """Every data point so far."""
        with self._lock:
            return list(self._inbox.metrics)

    def exports(self, signal: str) -> int:
        """How many exports of ``signal`` were accepted."""
        with self._lock:
            return self._inbox.exports.get(signal, 0)

    def clear(self) -> None:
        """Forget everything that arrived."""
        with self._lock:
            self._inbox = Inbox()

    def job_spans(self, job_id: str) -> list[Span]:
        """Spans about one job, oldest start first."""
        found = [span for span in self.spans() if span.attributes.get(MESSAGE_ID) == job_id]
        return sorted(found, key=lambda span: span.start)

    def trace(self, trace_id: str) -> list[Span]:
        """Spans of one trace, oldest start first."""
        found = [span for span in self.spans() if span.trace_id == trace_id]
        return sorted(found, key=lambda span: span.start)

    def wait_for_spans(
        self,
        accept: Callable[[Span], bool],
        count: int = 1,
        timeout: float = 15.0,
        what: str = "spans",
    ) -> list[Span]:
        """Return all spans that ``accept`` takes, once there are at least ``count``."""

        def look() -> Sequence[Span] | None:
            found = [span for span in self.spans() if accept(span)]
            return found if len(found) >= count else None

        found = wait_for(look, timeout, f"{count} {what}", lambda: "\n" + draw(self.spans()[-80:]))
        return sorted(found or (), key=lambda span: span.start)

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
