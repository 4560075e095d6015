"""Where the observer's metrics go: the exporters that OpenTelemetry's variables name."""

from __future__ import annotations

import math
import os
import uuid
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

from otel_taskqueue import semconv
from otel_taskqueue.observe.errors import MissingLibraryError, UsageError, need
from otel_taskqueue.observe.report import Report
from otel_taskqueue.settings import sdk_disabled
from otel_taskqueue.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_taskqueue.observe.election import Lease
    from otel_taskqueue.observe.plan import Plan
    from otel_taskqueue.observe.readings import Reading

SERVICE = "otel-taskqueue-observer"
_GROUP = "opentelemetry_metrics_exporter"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
#: Series (workers come and go) after which the SDK's memory of them is thrown away.
_MOST_SERIES = 10_000


def configured() -> list[str]:
    """The exporters asked for; none when nobody said where metrics go."""
    if sdk_disabled():
        return []
    names = os.environ.get("OTEL_METRICS_EXPORTER", "").replace(" ", "")
    if not names:
        return ["otlp"] if any(os.environ.get(variable) for variable in _ENDPOINTS) else []
    return [name for name in names.split(",") if name and name != "none"]


def factories(names: Sequence[str]) -> list[Callable[[], Any]]:
    """What makes these exporters.

    Raises:
        MissingLibraryError: one is not installed.
        UsageError: one waits to be asked instead of sending.
    """
    need("opentelemetry.sdk", "otel-taskqueue[otlp]", "what exports metrics")
    return [_factory(name) for name in names]


def _factory(name: str) -> Callable[[], Any]:
    from opentelemetry.sdk.metrics.export import MetricExporter  # noqa: PLC0415  (an extra)

    wanted = _otlp() if name == "otlp" else name
    found = list(metadata.entry_points(group=_GROUP, name=wanted))
    if not found:
        if not wanted.startswith("otlp"):
            raise UsageError(f"OTEL_METRICS_EXPORTER={name}: no exporter of metrics has that name")
        raise MissingLibraryError(f"the exporter {wanted} is missing: pip install 'otel-taskqueue[otlp]'")
    exporter = found[0].load()
    if not (isinstance(exporter, type) and issubclass(exporter, MetricExporter)):
        raise UsageError(f"OTEL_METRICS_EXPORTER={name}: the observer sends its metrics; use otlp or console")
    return cast("Callable[[], Any]", exporter)


def _otlp() -> str:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", ""
    )
    return "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"


class SdkOutput:
    """The report of one leadership, exported after each look and never by a clock of the SDK's."""

    def __init__(self, makers: Sequence[Callable[[], Any]], plan: Plan, lease: Lease) -> None:
        self._makers = makers
        self._resource = _resource(plan)
        self._lease = lease
        self._shown: dict[int, Sequence[Reading]] = {}
        self._begin()

    def show(self, place: int, readings: Sequence[Reading]) -> None:
        """What one source saw."""
        self._series |= {(reading.metric.name, *reading.attributes.values()) for reading in readings}
        self._shown[place] = [reading for reading in readings if reading.metric.kind == "gauge"]
        self._report.show(place, readings)

    def send(self) -> None:
        """Export now."""
        for reader in self._readers:
            reader.force_flush()
        if len(self._series) > _MOST_SERIES:
            self.close()
            self._begin()

    def close(self) -> None:
        """Export nothing more: the provider is dropped, as its own end would export once more."""
        for exporter in self._exporters:
            exporter.shutdown()

    def _begin(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415  (an extra)
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

        self._series: set[tuple[str, ...]] = set()
        self._exporters = [make() for make in self._makers]
        self._readers = [
            PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
            for exporter in self._exporters
        ]
        self._provider = MeterProvider(self._readers, self._resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(semconv.SCOPE, __version__, semconv.SCHEMA_URL)
        self._report = Report(meter, self._lease)
        for place, readings in self._shown.items():
            self._report.show(place, readings)


def _resource(plan: Plan) -> Any:
    """The same for all instances of a group: a new leader goes on with the series of the old one."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  (an extra)

    found = Resource.create()
    name = str(found.attributes.get("service.name", ""))
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{plan.identity}@{plan.target.label}")
    ours = {
        "service.name": SERVICE if not name or name.startswith("unknown_service") else name,
        "service.instance.id": str(identity),
    }
    return found.merge(Resource(ours))
