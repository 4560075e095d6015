"""Eager retries: each attempt is a call of `apply` of its own, and yet they belong together (D7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from opentelemetry import trace

from otel_taskqueue import semconv
from otel_taskqueue.core import carrier as _carrier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext


def carrier_of(request: Mapping[str, Any]) -> dict[str, str]:
    """What the attempt before handed on; empty for the first one."""
    headers = cast("dict[str, Any] | None", request.get("headers"))
    return headers.get(semconv.EAGER, {}) if isinstance(headers, dict) else {}


def hand_on(result: Any, carrier: Mapping[str, str], this: SpanContext | None) -> None:
    """Tell the next eager attempt, which Celery runs from the retry's signature, where it belongs.

    Below the caller's span as this one; without a caller, below the first attempt: one trace.
    """
    info = result[1]
    signature = getattr(info.retval, "sig", None) if info is not None and info.state == "RETRY" else None
    if signature is None or this is None:
        return
    handed = {semconv.PREVIOUS: _carrier.to_traceparent(this)}
    if semconv.TRACEPARENT in carrier:
        handed[semconv.TRACEPARENT] = carrier[semconv.TRACEPARENT]
    elif not trace.get_current_span().get_span_context().is_valid:
        handed[semconv.TRACEPARENT] = handed[semconv.PREVIOUS]
    signature.options["headers"] = {**(signature.options.get("headers") or {}), semconv.EAGER: handed}
