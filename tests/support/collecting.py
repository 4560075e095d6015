"""What stands behind a collector, what is sent to it, and how its configurations say they are used."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import HTTPError

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from support.backends.otelcol import Collector
from support.configurations import FOLDER
from support.otlp import LogLine, MetricPoint, Receiver

#: What a test has to say itself: the documented one is of a host that is not here.
ADDRESS = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOLS = ("grpc", "http/protobuf")
#: OTEL_BSP_MAX_EXPORT_BATCH_SIZE as it comes, and a little less than the longest traceback of the package.
LARGEST_BATCH, LONGEST_TEXT = 512, 60_000
TAKEN = 200


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
        """The collector's address and nothing else: the rest is what its header tells a worker."""
        assert self.before is not None
        return {ADDRESS: f"http://{self.before.http}"}

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
    """The settings, the address aside, which its header says to start a worker with."""
    command = header(configuration).split("Worker:")[1].split("Expect:")[0]
    return {name: value for name, value in re.findall(r"\b(OTEL_\w+)=(\S+)", command) if name != ADDRESS}


def post_spans(
    address: str, ids: Sequence[int], filling: str = "", resource: Mapping[str, str] | None = None
) -> int:
    """Export one batch of spans with these ids by OTLP/HTTP; the answer's status."""
    request = _spans(ids, filling, resource or {"service.name": "sender"})
    return _post(f"http://{address}/v1/traces", request.SerializeToString())


def takes_the_largest_batch(collector: Collector, protocol: str) -> Sequence[int]:
    """Export what a worker's exporter sends at most, by one of OTLP's protocols; its span ids.

    Raises:
        RpcError: it was refused, over gRPC.
        AssertionError: it was refused, over HTTP.
    """
    ids = range(1, LARGEST_BATCH + 1)
    request = _spans(ids, "x" * LONGEST_TEXT, {"service.name": "sender"})
    if protocol == "grpc":
        with grpc.insecure_channel(collector.grpc) as channel:
            TraceServiceStub(channel).Export(request, timeout=60)  # raises what a worker would log
    else:
        assert _post(f"http://{collector.http}/v1/traces", request.SerializeToString()) == TAKEN
    return ids


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


def _spans(ids: Sequence[int], filling: str, resource: Mapping[str, str]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for key, value in resource.items():
        group.resource.attributes.add(key=key).value.string_value = value
    spans = group.scope_spans.add().spans
    for number in ids:
        span = spans.add(name="work", trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"))
        span.start_time_unix_nano = span.end_time_unix_nano = 1_700_000_000_000_000_000 + number
        if filling:
            span.attributes.add(key="filling").value.string_value = filling
    return request


def _post(url: str, body: bytes) -> int:
    asked = urllib.request.Request(url, body, {"Content-Type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return int(answer.status)
    except HTTPError as refused:
        return refused.code
