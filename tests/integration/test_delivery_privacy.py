"""What the application hides stays hidden, what it switches off stays off."""

from __future__ import annotations

import pytest

from otel_taskqueue import semconv
from support.apps.delivery_sdk import SECRET
from support.delivery import StartDelivery, by_hand


@pytest.mark.parametrize("setup", ["redacting processor", "redacting exporter", "own batch processor"])
def test_a_redacting_application_has_the_last_word(start_delivery: StartDelivery, setup: str) -> None:
    """On inner spans, on process spans, and on a span that the parent had to judge."""
    worker = start_delivery(env=by_hand(setup), instrumented=False, concurrency=1)
    ended = worker.publish("secret")
    worker.wait_for_all([ended.id])  # a processor of the application's exports in the child
    killed = worker.publish("secret", "kill")
    worker.wait_for_all([killed.id])
    worker.stop_worker()
    worker.check_quiet()
    outcomes = {}
    for job in (ended, killed):
        (span,) = worker.process_spans(job.id)
        outcomes[job.id] = span.attributes[semconv.TASK_OUTCOME]
        # The killed child's announcement was made before the card number was there.
        expected = "paid with [hidden]" if job is ended else None
        assert span.attributes.get("card") == expected
    assert outcomes == {ended.id: "success", killed.id: "lost"}
    pays = [span for span in worker.receiver.spans() if span.name == "pay"]
    expected_pays = 1 if setup == "own batch processor" else 2
    assert [span.attributes["card"] for span in pays] == ["paid with [hidden]"] * expected_pays
    assert SECRET not in repr(worker.receiver.spans())


def test_a_disabled_sdk_is_left_alone(start_delivery: StartDelivery) -> None:
    """`OTEL_SDK_DISABLED=true`: jobs of every end run as without us, nothing is sent."""
    worker = start_delivery(env={"OTEL_SDK_DISABLED": "true"}, concurrency=1)
    jobs = [worker.publish("ok", 5), worker.publish("kill_self"), worker.publish("steps")]
    worker.wait_until_done([job.id for job in jobs])
    states = [worker.client.call("state", job.id, request=None).result for job in jobs]
    assert states == ["SUCCESS", "FAILURE", "SUCCESS"]
    worker.stop_worker()
    worker.check_quiet()
    assert [s for s in worker.receiver.spans() if s.service == worker.worker_service] == []


def test_suppressed_publishing_makes_no_span(start_delivery: StartDelivery) -> None:
    """`suppress_instrumentation()` in a task: the nested job runs, its send span is not made."""
    worker = start_delivery()
    job = worker.publish("quiet_publish")
    worker.wait_for_all([job.id])
    worker.stop_worker()
    worker.check_quiet()
    (outer,) = worker.process_spans(job.id)
    assert worker.inner(outer) == []
    nested = [
        span
        for span in worker.receiver.spans()
        if span.kind == "CONSUMER" and span.trace_id != outer.trace_id
    ]
    assert [span.parent_id for span in nested] == [""]
