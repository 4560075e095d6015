"""Publishers and workers without any instrumentation, or with one that is switched off."""

from __future__ import annotations

from collections.abc import Callable

from otel_taskqueue import semconv
from support.celery_harness import CeleryHarness
from support.client import Client, Reply
from support.harness import Options

StartCelery = Callable[..., CeleryHarness]


def bare_call(celery: CeleryHarness, operation: str, *args: object, **kwargs: object) -> Reply:
    """Let a client without any instrumentation do it."""
    client = Client(
        "support.apps.celery_client",
        celery.env(celery.client_service),
        celery.directory / "bare-client.log",
        instrumented=False,
    )
    try:
        return client.call(operation, *args, request=None, **kwargs)
    finally:
        client.stop()


def test_a_message_without_any_carrier_starts_a_trace(celery: CeleryHarness) -> None:
    """A publisher that is not instrumented is no reason to lose the run."""
    reply = bare_call(celery, "publish", "ok")
    runs = celery.receiver.wait_for_spans(
        lambda span: span.attributes.get(semconv.MESSAGING_MESSAGE_ID) == reply.job_id
    )
    assert [(run.kind, run.parent_id) for run in runs] == [("CONSUMER", "")]


def test_suppressed_instrumentation_makes_no_send_span(celery: CeleryHarness) -> None:
    """suppress_instrumentation() is honoured, the job runs."""
    reply = celery.client.call("publish_suppressed")
    celery.wait_for_note(reply.job_id)
    celery.fence()
    assert celery.send_spans(reply.job_id) == []
    assert len(celery.process_spans(reply.job_id)) == 1


def test_a_disabled_sdk_makes_nothing_and_breaks_nothing(start_celery: StartCelery) -> None:
    """OTEL_SDK_DISABLED=true in the worker and the client."""
    off = {"OTEL_SDK_DISABLED": "true"}
    worker = start_celery(options=Options(env=off, client_env=off))
    reply = worker.client.call("publish", "ok", ["value"])
    done = worker.client.call("wait_for_state", reply.job_id, ["SUCCESS"])
    assert done.result == "SUCCESS"
    assert not worker.stop_worker().killed
    worker.stop()
    assert worker.receiver.spans() == []
