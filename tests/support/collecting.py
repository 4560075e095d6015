"""What stands behind a collector, what is sent to it, and how its configurations say they are used."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import HTTPError

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.backends.otelcol import Collector
from support.configurations import FOLDER
from support.otlp import LogLine, MetricPoint, Receiver


class Backend(Receiver):
    """Takes traces by gRPC, logs and metrics by HTTP; ``env`` sends workers to the collector before it."""

    def __init__(self) -> None:
        super().__init__("grpc")
        self.rest = Receiver()
        self.before: Collector | None = None

    def __enter__(self) -> Backend:
        self.start()
        return self

    def start(self) -> Receiver:
        """Open both ports (free ones the first time)."""
        self.rest.start()
        return super().start()

    def stop(self) -> None:
        """Close both: from now on they refuse."""
        super().stop()
        self.rest.stop()

    def addresses(self) -> dict[str, str]:
        """The variables by which a collector finds us."""
        return {
            "TRACES_ENDPOINT": f"127.0.0.1:{self.port}",
            "LOGS_ENDPOINT": self.rest.endpoint,
            "METRICS_ENDPOINT": self.rest.endpoint,
        }

    def env(self) -> dict[str, str]:
        """A worker sends to the collector, by what the package's extra `otlp` brings."""
        assert self.before is not None
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.before.http}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }

    def logs(self) -> list[LogLine]:
        """Every log record so far."""
        return self.rest.logs()

    def metrics(self) -> list[MetricPoint]:
        """Every data point so far."""
        return self.rest.metrics()

    def clear(self) -> None:
        """Forget everything that arrived."""
        super().clear()
        self.rest.clear()


def header(configuration: str) -> str:
    """The comment at the top of a configuration, without the signs."""
    lines = (
        (FOLDER / configuration).read_text().split("\nextensions:")[0].split("\nreceivers:")[0].splitlines()
    )
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


def told_configs(configuration: str) -> list[str]:
    """The files which its header says to start a collector with."""
    found = re.findall(r"--config (\S+)", header(configuration).split("Start:")[1].split("Expect:")[0])
    assert found, configuration
    return found


def told_worker_env(configuration: str) -> dict[str, str]:
    """The settings, addresses aside, which its header says to start a worker with."""
    command = header(configuration).split("Worker:")[1].split("Expect:")[0]
    return dict(re.findall(r"\b(OTEL_\w+)=(\d+)", command))


def post_spans(
    address: str, ids: Sequence[int], filling: str = "", resource: Mapping[str, str] | None = None
) -> int:
    """Export one batch of spans with these ids by OTLP/HTTP; the answer's status."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for key, value in (resource or {"service.name": "sender"}).items():
        group.resource.attributes.add(key=key).value.string_value = value
    spans = group.scope_spans.add().spans
    for number in ids:
        span = spans.add(name="work", trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"))
        span.start_time_unix_nano = span.end_time_unix_nano = 1_700_000_000_000_000_000 + number
        if filling:
            span.attributes.add(key="filling").value.string_value = filling
    return _post(f"http://{address}/v1/traces", request.SerializeToString())


def post_logs(address: str, lines: Sequence[str], severity: int = 9) -> int:
    """Export one batch of log records; the answer's status."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = "sender"
    records = group.scope_logs.add().log_records
    for line in lines:
        records.add(severity_number=severity).body.string_value = line
    return _post(f"http://{address}/v1/logs", request.SerializeToString())


def hex_ids(ids: Sequence[int]) -> set[str]:
    """Span ids as the receiver has them."""
    return {f"{number:016x}" for number in ids}


def text_of(folder: Path, pattern: str) -> str:
    """All files of a channel, whatever their rotation."""
    return "".join(path.read_text() for path in sorted(folder.glob(pattern)))


def _post(url: str, body: bytes) -> int:
    asked = urllib.request.Request(url, body, {"Content-Type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as refused:
        return refused.code
