"""The loop of a client process: take a command, enqueue, tell what the caller saw.

A client is a process of its own, under ``opentelemetry-instrument`` like the web application
that it stands for, so that no instrumentation gets into the test process. One JSON object per
line in each direction over an inherited socket.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from opentelemetry import baggage, context, trace

SOCKET = "TASKQUEUE_TEST_SOCKET"
Operation = Callable[..., Any]
tracer = trace.get_tracer("web")


def serve(operations: Mapping[str, Operation]) -> None:
    """Answer commands until the other side closes the socket."""
    connection = socket.socket(fileno=int(os.environ[SOCKET]))
    lines = connection.makefile("rw", encoding="utf-8")
    for line in lines:
        command = json.loads(line)
        lines.write(json.dumps(answer(operations, command), default=str) + "\n")
        lines.flush()


def answer(operations: Mapping[str, Operation], command: Mapping[str, Any]) -> dict[str, Any]:
    """Run one operation, inside a span of the web request unless told otherwise."""
    reply: dict[str, Any] = {"trace_id": "", "span_id": "", "error": None, "result": None}
    token = _attach_baggage(command.get("baggage", {}))
    request = command.get("request", "request")
    started = time.time_ns()
    try:
        with tracer.start_as_current_span(request) if request else nullcontext() as span:
            before = context.get_current()
            if span is not None:
                ids = span.get_span_context()
                reply["trace_id"] = f"{ids.trace_id:032x}"
                reply["span_id"] = f"{ids.span_id:016x}"
            try:
                reply["result"] = operations[command["op"]](
                    *command.get("args", ()), **command.get("kwargs", {})
                )
            except Exception as error:  # noqa: BLE001 - the test wants to see it
                reply["error"] = {"type": type(error).__qualname__, "text": str(error)}
            reply["context_is_clean"] = context.get_current() == before
    finally:
        context.detach(token)
    return {**reply, "started": started, "ended": time.time_ns()}


def _attach_baggage(values: Mapping[str, str]) -> Any:
    current = context.get_current()
    for key, value in values.items():
        current = baggage.set_baggage(key, value, current)
    return context.attach(current)


def flush() -> None:
    """Export what this process still holds."""
    provider = trace.get_tracer_provider()
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is not None:
        force_flush()
