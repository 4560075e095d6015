"""What spans say about a job: names and attributes (semantic conventions, and our own)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry import baggage

from otel_taskqueue import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context

    from otel_taskqueue.core.job import JobView
    from otel_taskqueue.core.message import Incoming
    from otel_taskqueue.core.telemetry import Telemetry


def span_name(telemetry: Telemetry, operation: str, job: JobView) -> str:
    """``send <task>`` or, where the user wants the conventions' form, ``send <queue>``."""
    return f"{operation} {job.queue if telemetry.settings.span_naming == 'queue' else job.task}"


def of_send(telemetry: Telemetry, job: JobView) -> dict[str, Any]:
    """The attributes of the `send` span, with the chosen baggage of the current context."""
    found = _common(job, semconv.OPERATION_SEND, semconv.OPERATION_TYPE_SEND)
    if telemetry.settings.baggage_keys:
        _add_baggage(found, telemetry.settings.baggage_keys, None)
    return found


def _common(job: JobView, operation: str, operation_type: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        semconv.MESSAGING_SYSTEM: job.broker.system,
        semconv.MESSAGING_OPERATION_NAME: operation,
        semconv.MESSAGING_OPERATION_TYPE: operation_type,
        semconv.MESSAGING_DESTINATION_NAME: job.queue,
        semconv.MESSAGING_MESSAGE_ID: job.id,
        semconv.SYSTEM: job.library,
        semconv.TASK_NAME: job.task,
    }
    if job.broker.address is not None:
        found[semconv.SERVER_ADDRESS] = job.broker.address
    if job.broker.port is not None:
        found[semconv.SERVER_PORT] = job.broker.port
    if job.conversation_id is not None:
        found[semconv.MESSAGING_CONVERSATION_ID] = job.conversation_id
    if job.group_id is not None:
        found[semconv.GROUP_ID] = job.group_id
    if job.eta is not None:
        found[semconv.TASK_ETA] = job.eta
    if job.arguments is not None:
        found[semconv.TASK_ARGS], found[semconv.TASK_KWARGS] = job.arguments
    return found


def of_process(telemetry: Telemetry, incoming: Incoming, sender: Context) -> Mapping[str, Any]:
    """The attributes of the `process` span, with the chosen baggage of the sender."""
    job = incoming.job
    found = _common(job, semconv.OPERATION_PROCESS, semconv.OPERATION_TYPE_PROCESS)
    found[semconv.TASK_ATTEMPT] = job.attempt
    found[semconv.PROCESS_PID] = incoming.pid or os.getpid()
    if job.worker is not None:
        found[semconv.WORKER_NAME] = job.worker
    if job.wait is not None:
        found[semconv.TASK_WAIT] = job.wait
    if job.redelivered:
        found[semconv.REDELIVERED] = True
    if telemetry.settings.baggage_keys:
        _add_baggage(found, telemetry.settings.baggage_keys, sender)
    return found


def _add_baggage(found: dict[str, Any], keys: Sequence[str], sender: Context | None) -> None:
    for key in keys:
        value = baggage.get_baggage(key, sender)
        if value is not None:
            found[key] = str(value)
