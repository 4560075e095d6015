"""A backend that takes OTLP/HTTP below any path: what was asked of it, and answers that a test has chosen."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from support.otlp import LogLine, MetricPoint, Span, decode
from support.otlp.receiver import REQUESTS

TAKEN = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; ``headers`` by their names in lower case, ``status`` is what was answered."""

    path: str
    headers: Mapping[str, str]
    status: int

    @property
    def signal(self) -> str:
        """The last part of its path: traces, logs or metrics."""
        return self.path.rpartition("/")[2]


@dataclass(slots=True)
class Recorder:
    """Takes whatever is sent; ``answer`` gives the status for a path, 200 for what is taken."""

    answer: Callable[[str], int] = lambda _path: 200
    asked: list[Asked] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    metrics: list[MetricPoint] = field(default_factory=list)
    #: The log records as they were sent.
    records: list[LogRecord] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its base address."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, asked: Asked, body: bytes) -> None:
        """Write down one request, and what is in it when it was taken."""
        self.asked.append(asked)
        if asked.status != TAKEN:
            return
        message = REQUESTS[asked.signal][0].FromString(body)
        if asked.signal == "traces":
            self.spans += decode.spans(message)
        elif asked.signal == "metrics":
            self.metrics += decode.metrics(message)
        else:
            self.logs += decode.logs(message)
            self.records += _records(message)

    def __enter__(self) -> Recorder:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def _records(message: Any) -> Iterator[LogRecord]:
    for group in message.resource_logs:
        for scope in group.scope_logs:
            yield from scope.log_records


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A collector that was killed is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Write down one request and answer it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        recorder = self.server.recorder
        status = recorder.answer(self.path)
        recorder.take(Asked(self.path, headers, status), plain)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
