"""Too much at once: inner spans may be dropped and are counted, process spans never are."""

from __future__ import annotations

from otel_taskqueue import meters, semconv
from support.delivery import StartDelivery
from support.otlp.tree import assert_no_dangling_parents

CHILDREN = 8
JOBS = 16
FLOOD = 4000


def test_a_flood_of_inner_spans_loses_no_process_span(start_delivery: StartDelivery) -> None:
    """Eight children at once: each process span arrives, each missing inner span is counted and told."""
    worker = start_delivery(concurrency=CHILDREN, env={"OTEL_METRICS_EXPORTER": "otlp"})
    ids = worker.publish_many("steps", JOBS, FLOOD)
    worker.wait_until_done(ids)
    output = worker.stop_and_read()
    worker.wait_for_all(ids, timeout=1)
    arrived = sum(len(worker.inner(span)) for job in ids for span in worker.process_spans(job))
    dropped = worker.dropped(output).get("traces", 0)
    assert dropped > 0, "this was no flood"
    assert arrived + dropped == JOBS * FLOOD
    points = [
        point.value
        for point in worker.receiver.metrics()
        if point.name == meters.DROPPED.name and point.attributes[semconv.TELEMETRY_SIGNAL] == "traces"
    ]
    assert points[-1] == dropped
    outcomes = {worker.process_spans(job)[0].attributes[semconv.TASK_OUTCOME] for job in ids}
    assert outcomes == {"success"}


def test_what_is_too_large_is_cut_and_marked(start_delivery: StartDelivery) -> None:
    """A span of 600 kB arrives with what we said about the job; an ordinary one is not marked."""
    worker = start_delivery()
    large = worker.publish("too_large", 300_000)
    small = worker.publish("steps", 1)
    worker.wait_for_all([large.id, small.id])
    output = worker.stop_and_read()
    (process,) = worker.process_spans(large.id)
    (step,) = worker.inner(process)
    for span in (process, step):
        assert span.attributes[semconv.TELEMETRY_CUT] is True
        assert len(repr(span)) < 100_000
    assert process.attributes[semconv.TASK_OUTCOME] == "success"
    assert process.attributes[semconv.MESSAGING_MESSAGE_ID] == large.id
    assert process.scope == semconv.SCOPE
    assert (step.name, step.scope) == ("large step", "shop")
    assert step.attributes["filling.0"].startswith("xxx")
    (ordinary,) = worker.process_spans(small.id)
    assert semconv.TELEMETRY_CUT not in ordinary.attributes
    assert worker.dropped(output) == {}
    assert_no_dangling_parents(worker.receiver.spans())
