"""OTLP protobuf messages -> the plain values of ``model``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.otlp.model import Attributes, Event, Exemplar, Link, LogLine, MetricPoint, Resource, Span

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUSES = ("UNSET", "OK", "ERROR")
TEMPORALITIES = ("UNSPECIFIED", "DELTA", "CUMULATIVE")


def spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """Every span of one export."""
    for group in request.resource_spans:
        resource = Resource(_attributes(group.resource.attributes))
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield _span(span, resource, scoped.scope.name)


def _span(span: Any, resource: Resource, scope: str) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=KINDS[span.kind],
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        status=STATUSES[span.status.code],
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(
            Event(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in span.events
        ),
        links=tuple(
            Link(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes)) for link in span.links
        ),
        resource=resource,
        scope=scope,
        flags=span.flags,
        dropped_attributes=span.dropped_attributes_count,
    )


def logs(request: ExportLogsServiceRequest) -> Iterator[LogLine]:
    """Every log record of one export."""
    for group in request.resource_logs:
        resource = Resource(_attributes(group.resource.attributes))
        for scoped in group.scope_logs:
            for record in scoped.log_records:
                yield LogLine(
                    body=_value(record.body),
                    severity=record.severity_text,
                    time=record.time_unix_nano,
                    trace_id=record.trace_id.hex(),
                    span_id=record.span_id.hex(),
                    event_name=record.event_name,
                    attributes=_attributes(record.attributes),
                    resource=resource,
                    scope=scoped.scope.name,
                )


def metrics(request: ExportMetricsServiceRequest) -> Iterator[MetricPoint]:
    """Every data point of one export."""
    for group in request.resource_metrics:
        resource = Resource(_attributes(group.resource.attributes))
        for scoped in group.scope_metrics:
            for metric in scoped.metrics:
                yield from _points(metric, resource, scoped.scope.name)


def _points(metric: Any, resource: Resource, scope: str) -> Iterator[MetricPoint]:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    for point in data.data_points:
        is_histogram = kind == "histogram"
        number = None if is_histogram else getattr(point, point.WhichOneof("value"))
        yield MetricPoint(
            name=metric.name,
            unit=metric.unit,
            kind=kind,
            attributes=_attributes(point.attributes),
            start=point.start_time_unix_nano,
            time=point.time_unix_nano,
            value=number,
            count=point.count if is_histogram else 0,
            sum=point.sum if is_histogram else 0.0,
            bounds=tuple(point.explicit_bounds) if is_histogram else (),
            buckets=tuple(point.bucket_counts) if is_histogram else (),
            temporality=TEMPORALITIES[getattr(data, "aggregation_temporality", 0)],
            monotonic=getattr(data, "is_monotonic", False),
            resource=resource,
            scope=scope,
            exemplars=tuple(map(_exemplar, getattr(point, "exemplars", ()))),
        )


def _exemplar(exemplar: Any) -> Exemplar:
    return Exemplar(
        value=getattr(exemplar, exemplar.WhichOneof("value")),
        time=exemplar.time_unix_nano,
        trace_id=exemplar.trace_id.hex(),
        span_id=exemplar.span_id.hex(),
    )


def _attributes(pairs: Iterable[Any]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    plain = getattr(value, kind)
    if kind == "array_value":
        return tuple(_value(item) for item in plain.values)
    if kind == "kvlist_value":
        return dict(_attributes(plain.values))
    return plain
