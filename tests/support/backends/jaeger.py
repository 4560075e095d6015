"""A real Jaeger 2 on free ports, its traces in memory, and what its query API answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

from support.backends.programs import ROOT, require
from support.env import base_env
from support.otlp import Span, json_form
from support.process import RealProcess
from support.servers import free_port, started

#: The configuration that the example's README starts it with.
CONFIG = ROOT / "examples" / "fastapi-celery-rq" / "jaeger.yaml"
READY_SECONDS = 30.0
LOOK_BACK_SECONDS = 3600
#: Where Jaeger notes on a span what it thinks of it, and what it thinks of a job that waits in a queue.
WARNINGS = "@jaeger@warnings"
WARNING = "clock skew adjustment disabled"
ADDRESSES = ("OTLP", "QUERY", "QUERY_GRPC", "HEALTH")


@dataclass(slots=True)
class Jaeger:
    """A running server: ``otlp`` is host:port for OTLP/gRPC, ``url`` that of the UI and the query API."""

    process: RealProcess
    otlp: str
    url: str
    health: str

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace as they are stored, oldest start first; none when it is unknown."""
        raw = {"raw_traces": "true"}
        answer = requests.get(f"{self.url}/api/v3/traces/{trace_id}", params=raw, timeout=30)
        if answer.status_code == requests.codes.not_found:
            return []
        answer.raise_for_status()
        return oldest_first(map(without_warnings, json_form.spans(answer.json()["result"])))

    def shown(self, trace_id: str) -> Mapping[str, Any]:
        """The trace as its UI gets it: ``spans`` and ``processes``."""
        (trace,) = self._get(f"traces/{trace_id}")
        return trace

    def search(self, service: str, **tags: str) -> list[str]:
        """Ids of the last hour's traces in which one span of ``service`` has all ``tags``."""
        now = time.time_ns() // 1000
        found = self._get(
            "traces",
            service=service,
            tags=json.dumps(tags),
            start=str(now - LOOK_BACK_SECONDS * 1_000_000),
            end=str(now),
            limit="100",
        )
        return [trace["traceID"] for trace in found]

    def services(self) -> set[str]:
        """The services that it has spans of."""
        return set(self._get("services") or ())

    def dependencies(self) -> Mapping[tuple[str, str], int]:
        """Which service calls which other, and how often in the last hour: edges of the dependency graph."""
        now = time.time_ns() // 1_000_000
        edges = self._get("dependencies", endTs=str(now), lookback=str(LOOK_BACK_SECONDS * 1000))
        calls = {(edge["parent"], edge["child"]): edge["callCount"] for edge in edges}
        return {(parent, child): count for (parent, child), count in calls.items() if parent != child}

    def _get(self, what: str, **parameters: str) -> Any:
        answer = requests.get(f"{self.url}/api/{what}", params=parameters, timeout=30)
        answer.raise_for_status()
        return answer.json()["data"]


@contextmanager
def running_jaeger(directory: Path, *, config: Path = CONFIG) -> Iterator[Jaeger]:
    """Start one, wait until it is healthy, kill it at the end: what it holds is thrown away.

    Raises:
        NotInTimeError: it did not start, with its log.
    """
    jaeger = _start(directory, config)
    try:
        yield jaeger
    finally:
        jaeger.process.kill()


def _start(directory: Path, config: Path) -> Jaeger:
    command = [str(require("jaeger")), f"--config={config}"]

    def attempt() -> tuple[RealProcess, Jaeger]:
        at = {name: f"127.0.0.1:{free_port()}" for name in ADDRESSES}
        env = {f"JAEGER_{name}_ENDPOINT": address for name, address in at.items()}
        process = RealProcess("jaeger", command, env=base_env(**env), log=directory / "jaeger.log")
        return process, Jaeger(process, at["OTLP"], f"http://{at['QUERY']}", f"http://{at['HEALTH']}/status")

    return started(attempt, lambda _process, jaeger: _ready(jaeger), READY_SECONDS)[1]


def _ready(jaeger: Jaeger) -> bool:
    try:
        return requests.get(jaeger.health, timeout=5).ok and requests.get(f"{jaeger.url}/", timeout=5).ok
    except requests.RequestException:
        return False


def oldest_first(spans: Iterable[Span]) -> list[Span]:
    """By start, then by id: the same order on both sides of a comparison."""
    return sorted(spans, key=lambda span: (span.start, span.span_id))


def without_warnings(span: Span) -> Span:
    """A span without Jaeger's notes, which a query leaves in the stored span.

    Raises:
        AssertionError: it warns of anything but a job's wait.
    """
    warnings = span.attributes.get(WARNINGS, ())
    assert all(WARNING in warning for warning in warnings), warnings
    return replace(span, attributes={key: span.attributes[key] for key in span.attributes if key != WARNINGS})
