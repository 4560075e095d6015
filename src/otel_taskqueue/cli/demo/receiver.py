"""A small OTLP/HTTP collector: it keeps what it is sent and answers like a real one."""

from __future__ import annotations

import gzip
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_taskqueue.cli.demo.harvest import Harvest

if TYPE_CHECKING:
    from types import TracebackType


@final
class Receiver:
    """``with Receiver() as receiver:`` listens on a free local port: see ``harvest``, ``url``."""

    def __init__(self) -> None:
        self.harvest = Harvest()
        handler = type("_BoundHandler", (_Handler,), {"harvest": self.harvest})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The value for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Says nothing about a sender that was killed in the middle of a sentence."""

    def handle_error(self, request: object, client_address: object) -> None:
        """The process it belonged to is told about in the tree."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of an exporter; an empty answer is a full success in OTLP."""

    protocol_version = "HTTP/1.1"
    harvest: Harvest

    def do_POST(self) -> None:
        try:
            self._take(self._body())
        except (DecodeError, OSError, EOFError, ValueError):
            self._answer(HTTPStatus.BAD_REQUEST)
        else:
            self._answer(HTTPStatus.OK)

    def _take(self, body: bytes) -> None:
        if self.path.endswith("/v1/traces"):
            self.harvest.add_traces(ExportTraceServiceRequest.FromString(body))
        elif self.path.endswith("/v1/logs"):
            self.harvest.add_logs(ExportLogsServiceRequest.FromString(body))

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (name given by http.server)
        """Stay silent: the demo's terminal belongs to the demo."""
