"""An SDK and an instrumentation that are set up by hand, in every order."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import otel_taskqueue
from support.apps.logs_lines import SETUP


def set_up() -> None:
    """Do what the case asks for; nothing without ``manual`` in it."""
    if "manual" not in SETUP:
        return
    tracer_provider, logger_provider = TracerProvider(), LoggerProvider()
    tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    logger_provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    if "given" in SETUP:
        if "contrib" in SETUP:
            _contrib()  # of a global provider that is never set: it ships nothing
        otel_taskqueue.instrument(tracer_provider=tracer_provider, logger_provider=logger_provider)
        return
    trace.set_tracer_provider(tracer_provider)
    _logs.set_logger_provider(logger_provider)
    if "contrib" in SETUP:
        _contrib()
    for _ in range(3):
        otel_taskqueue.instrument()


def handler() -> logging.Handler:
    """A handler as an application makes one for itself."""
    from opentelemetry.instrumentation.logging.handler import LoggingHandler

    return LoggingHandler()


def _contrib() -> Any:
    from opentelemetry.instrumentation.logging import LoggingInstrumentor

    return LoggingInstrumentor().instrument()
