"""Whatever exports: what children hand over reaches every processor of the parent, once."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest

from otel_taskqueue import semconv
from support.delivery import DeliveryHarness, StartDelivery, by_hand, second
from support.otlp import Behaviour, Receiver

JOBS = 10
STEPS = 2
EXPECTED = {"process support.apps.delivery_app.steps": JOBS, "step 0": JOBS, "step 1": JOBS}


def run(worker: DeliveryHarness) -> list[str]:
    """Some jobs with inner spans, done."""
    ids = worker.publish_many("steps", JOBS, STEPS)
    worker.wait_until_done(ids)
    return ids


def names(receiver: Receiver, service: str) -> Counter[str]:
    """How often each span name arrived from a service."""
    return Counter(span.name for span in receiver.spans() if span.service == service)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_otlp_exporters(start_delivery: StartDelivery, protocol: str) -> None:
    """By the environment of opentelemetry-instrument, both protocols."""
    with Receiver(protocol) as receiver:
        worker = start_delivery(to=receiver)
        ids = run(worker)
        worker.wait_for_all(ids)
        worker.stop_and_read()
        assert names(receiver, worker.worker_service) == EXPECTED


def test_resource_and_pid(start_delivery: StartDelivery) -> None:
    """A relayed span has the resource of the parent and the pid of the child that ran it."""
    worker = start_delivery(env={"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=the-parent"}, concurrency=1)
    job = worker.publish("steps", 1)
    killed = worker.publish("kill_self")
    worker.wait_for_all([job.id, killed.id])
    worker.stop_and_read()
    spans = [span for span in worker.receiver.spans() if span.service == worker.worker_service]
    assert {span.resource.attributes["service.instance.id"] for span in spans} == {"the-parent"}
    for job_id in (job.id, killed.id):
        (span,) = worker.process_spans(job_id)
        ran = worker.notes(job_id, "ran")[0]["pid"]
        assert span.attributes[semconv.PROCESS_PID] == ran
        assert worker.worker is not None
        assert ran != worker.worker.pid


def test_the_console_exporter(start_delivery: StartDelivery) -> None:
    """`OTEL_TRACES_EXPORTER=console`: the worker's output has every span."""
    worker = start_delivery(env={"OTEL_TRACES_EXPORTER": "console"})
    run(worker)
    output = worker.stop_and_read()
    for name, count in EXPECTED.items():
        assert output.count(f'"name": "{name}"') == count


@pytest.mark.parametrize("setup", ["simple file", "batch file"])
def test_a_file_exporter(start_delivery: StartDelivery, setup: str) -> None:
    """One line for each span, whole lines only, written by one process."""
    worker = start_delivery(env=by_hand(setup), instrumented=False)
    run(worker)
    worker.stop_and_read()
    spans = [json.loads(line) for line in worker.spans_file.read_text().splitlines()]
    assert Counter(span["name"] for span in spans) == EXPECTED


@pytest.mark.parametrize("setup", ["two", "second at once"])
def test_two_exporters_one_of_which_hangs(start_delivery: StartDelivery, setup: str) -> None:
    """The healthy one gets everything in time, also when the other exports in `on_end`."""
    with Receiver() as hanging:
        hanging.behave(Behaviour.HANGING)
        worker = start_delivery(env=by_hand(setup, **second(hanging)), instrumented=False)
        started = time.monotonic()
        worker.wait_for_all(run(worker), timeout=5)
        assert time.monotonic() - started < 5
        assert hanging.spans() == []


def test_an_exporter_that_hangs_keeps_no_other_from_its_last_flush(
    start_delivery: StartDelivery,
) -> None:
    """Nothing was sent before the worker stops; the first processor in the list hangs."""
    with Receiver() as hanging:
        hanging.behave(Behaviour.HANGING)
        env = by_hand("two", **second(hanging))
        worker = start_delivery(env=env, instrumented=False, batch_delay=60.0)
        ids = run(worker)
        assert worker.missing(ids) == ids
        worker.stop_and_read()
        worker.wait_for_all(ids, timeout=1)


def test_two_exporters_both_get_everything(start_delivery: StartDelivery) -> None:
    """Each span goes to both."""
    with Receiver() as other:
        worker = start_delivery(env=by_hand("two", **second(other)), instrumented=False)
        run(worker)
        worker.stop_and_read()
        assert names(other, worker.worker_service) == EXPECTED
        assert names(worker.receiver, worker.worker_service) == EXPECTED
