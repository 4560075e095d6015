"""A receiver that hands on what it gets: what was sent is known without asking who got it then."""

from __future__ import annotations

import requests

from support.otlp.receiver import Receiver


class Tee(Receiver):
    """Sends each export on as it came, over HTTP, and keeps it; a refusal is the sender's, too."""

    def __init__(self, onward: str) -> None:
        super().__init__()
        self.onward = onward
        self.bodies: list[tuple[str, bytes]] = []

    def accept(self, signal: str, body: bytes) -> bytes:
        """Hand one export on to ``onward`` (host:port), then store it.

        Raises:
            requests.RequestException: it was refused; the sender's connection breaks.
        """
        send(self.onward, signal, body)
        self.bodies.append((signal, body))
        return super().accept(signal, body)


def send(onward: str, signal: str, body: bytes) -> None:
    """Export one body of ``traces``, ``logs`` or ``metrics`` to host:port.

    Raises:
        requests.RequestException: it was refused.
    """
    headers = {"Content-Type": "application/x-protobuf"}
    requests.post(f"http://{onward}/v1/{signal}", body, headers=headers, timeout=10).raise_for_status()
