"""OTLP over HTTP, by the standard library's server."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from support.otlp.behaviour import Behaviour

if TYPE_CHECKING:
    from support.otlp.receiver import Receiver

SIGNALS = {"/v1/traces": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics"}


class HttpDoor(ThreadingHTTPServer):
    """One open port; it remembers its connections so that closing closes them, too."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", receiver.port), Handler)
        self.port = int(self.server_address[1])
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests, not an error."""

    def close(self) -> None:
        """Stop listening, then cut what is connected."""
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._thread.join(5)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection the way the receiver is told to behave."""

    server: HttpDoor
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take one export."""
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        closing = receiver.closing
        if receiver.behaviour is Behaviour.HANGING:
            closing.wait()
            self.close_connection = True
            return
        if receiver.latency:
            closing.wait(receiver.latency)
        if receiver.behaviour is Behaviour.UNAVAILABLE:
            self._answer(503, b"")
            return
        signal = SIGNALS.get(self.path)
        if signal is None:
            self._answer(404, b"")
            return
        self._answer(200, receiver.accept(signal, self._plain(body)))

    def _plain(self, body: bytes) -> bytes:
        encoding = self.headers.get("Content-Encoding", "")
        if encoding == "gzip":
            return gzip.decompress(body)
        return zlib.decompress(body) if encoding == "deflate" else body

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def open_door(receiver: Receiver) -> HttpDoor:
    """Open the receiver's port for OTLP/HTTP."""
    return HttpDoor(receiver)
