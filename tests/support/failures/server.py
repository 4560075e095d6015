"""An HTTP server which answers with the status that its path asks for, or misbehaves."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """``/status/503`` answers 503, ``/close`` hangs up, ``/slow`` waits, ``/text`` is no JSON, ``/loop``."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self._server = _Quiet(("127.0.0.1", 0), _handler(self.released))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, status: int) -> str:
        """An address that answers with this status."""
        return self.path(f"/status/{status}")

    def path(self, path: str) -> str:
        """The whole address."""
        return f"http://127.0.0.1:{self.port}{path}"

    def stop(self) -> None:
        """Let go of everybody who waits, and end."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has hung up is what some of the failures are about."""


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _handler(released: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/slow"):
                released.wait(30)
            if self.path == "/close":
                self.close_connection = True
            else:
                self._answer(b"<no json>")

        def do_POST(self) -> None:
            self.do_GET()

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, body: bytes) -> None:
            is_cut = self.path == "/cut"
            self.send_response(_status(self.path))
            self.send_header("Location", "/loop")
            self.send_header("Content-Length", str(1000 if is_cut else len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = is_cut

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


def _status(path: str) -> int:
    if path == "/loop":
        return 302
    return int(path.rpartition("/")[2]) if "/status/" in path else 200
