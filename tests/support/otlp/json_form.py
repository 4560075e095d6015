"""OTLP's JSON form -> the plain values of ``model``: what files and query APIs hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.otlp import decode
from support.otlp.model import Span

# OTLP writes ids in hex where protobuf's own JSON form has base64.
IDS = ("traceId", "spanId", "parentSpanId")


def spans(document: Mapping[str, Any]) -> list[Span]:
    """The spans of one ``{"resourceSpans": [...]}``."""
    request = ExportTraceServiceRequest()
    json_format.ParseDict(_protobuf(document), request, ignore_unknown_fields=True)
    return list(decode.spans(request))


def spans_of_lines(lines: Iterable[str]) -> list[Span]:
    """The spans of a file of exports, one a line; lines of other signals have none."""
    return [span for line in lines if line.strip() for span in spans(json.loads(line))]


def _protobuf(value: Any) -> Any:
    if isinstance(value, list):
        return [_protobuf(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in IDS else _protobuf(item)
        for key, item in value.items()
    }
