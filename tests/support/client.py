"""The test's side of a client process: send a command, get what the caller saw."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.apps.client import SOCKET
from support.env import script
from support.process import RealProcess, Stopped


@dataclass(frozen=True, slots=True)
class Reply:
    """What an enqueue call did, as the caller saw it; times in unix nanoseconds."""

    trace_id: str
    span_id: str
    error: Mapping[str, str] | None
    result: Any
    context_is_clean: bool
    started: int
    ended: int

    @property
    def job_id(self) -> str:
        """The id of the one job that was enqueued."""
        assert self.error is None, self.error
        assert isinstance(self.result, str), self.result
        return self.result


class Client:
    """A client process that obeys; instrumented unless ``instrumented`` is false."""

    def __init__(self, module: str, env: Mapping[str, str], log: Path, *, instrumented: bool = True) -> None:
        ours, theirs = socket.socketpair()
        prefix = [script("opentelemetry-instrument")] if instrumented else []
        with theirs:
            self.process = RealProcess(
                f"client {module}",
                [*prefix, "python", "-m", module],
                env={**env, SOCKET: str(theirs.fileno())},
                log=log,
                pass_fds=[theirs.fileno()],
            )
        self._socket = ours
        self._lines = ours.makefile("rw", encoding="utf-8")

    def call(
        self,
        operation: str,
        *args: Any,
        request: str | None = "request",
        baggage: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        **kwargs: Any,
    ) -> Reply:
        """Run an operation of the client, inside a span called ``request`` (None: in no span)."""
        command = {"op": operation, "args": args, "kwargs": kwargs, "request": request}
        self._socket.settimeout(timeout)
        try:
            self._lines.write(json.dumps({**command, "baggage": baggage or {}}) + "\n")
            self._lines.flush()
            answer = self._lines.readline()
        except OSError as error:
            message = f"{operation}: {error!r}\n{self.process.tail()}"
            raise AssertionError(message) from error
        assert answer, f"{operation}: the client ended\n{self.process.tail()}"
        return Reply(**json.loads(answer))

    def leave(self, timeout: float = 30.0) -> Stopped:
        """Close the socket, so that the client ends by itself as a script does."""
        self._lines.close()
        self._socket.close()
        return self.process.stop(0, timeout)

    def stop(self) -> Stopped:
        """End the client, whatever it waits for."""
        return self.leave(timeout=5.0)
