"""gevent and eventlet with OTLP over gRPC, which waits in C: a worker's greenlets must not wait with it.

`opentelemetry-instrument` exports over gRPC unless told otherwise.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import pytest

from support.delivery import DeliveryHarness, StartDelivery
from support.env import base_env
from support.otlp import Behaviour, Receiver

POOLS = pytest.mark.parametrize("pool", ["gevent", "eventlet"])
PROTOCOLS = pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
JOBS, STEPS = 10, 2
MANY = 200
#: The first jobs of a worker take a moment; a collector that hangs would cost 10 s for each export.
SOON = 8.0
STOP = 12.0  # the deadline of an exit is 5 s, and Celery itself takes some
STALL = 1.0  # seconds: a shared machine may take a greenlet's turn away for a while

#: A process of no worker: how long one greenlet had to wait for its turn while spans are exported.
WATCHED = """
import sys, time
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

class Wrapping(SpanExporter):
    def __init__(self, other):
        self.other = other
    def export(self, spans):
        return self.other.export(spans)
    def shutdown(self):
        self.other.shutdown()

provider = TracerProvider()
exporter = OTLPSpanExporter(insecure=True)
exporter = Wrapping(exporter) if sys.argv[2] == "wrapped" else exporter
provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
trace.set_tracer_provider(provider)
reader = PeriodicExportingMetricReader(OTLPMetricExporter(insecure=True), export_interval_millis=100)
metrics.set_meter_provider(MeterProvider([reader]))

import otel_taskqueue
otel_taskqueue.instrument()
if sys.argv[1] == "gevent":
    from gevent import monkey, sleep, spawn
    monkey.patch_all()
    monkey.patch_all()
else:
    from eventlet import monkey_patch, sleep, spawn
    monkey_patch()
    monkey_patch()
metrics.get_meter("web").create_counter("requests").add(1)
trace.get_tracer("web").start_span("request").end()
flushing = sys.argv[2] == "flushed"
worst, end = 0.0, time.monotonic() + 3
while time.monotonic() < end:
    before = time.monotonic()
    sleep(0.01)
    worst = max(worst, time.monotonic() - before)
    if flushing and time.monotonic() > end - 2:
        flushing = not (spawn(provider.force_flush) and spawn(reader.force_flush))
print(worst)
"""


def names(worker: DeliveryHarness) -> Counter[str]:
    """How often each span name arrived from the worker."""
    return Counter(span.name for span in worker.receiver.spans() if span.service == worker.worker_service)


def stop(worker: DeliveryHarness) -> None:
    """Stop the worker warmly: in time, and nothing of it fails on the way."""
    stopped = worker.stop_worker()
    assert worker.worker is not None
    print(f"the worker took {stopped.seconds:.1f} s to stop")
    assert (stopped.killed, stopped.returncode) == (False, 0), worker.worker.tail()
    assert stopped.seconds < STOP, worker.worker.tail()
    assert "Traceback" not in worker.worker.output().partition("Warm shutdown")[2], worker.worker.tail()


@PROTOCOLS
@POOLS
def test_every_span_arrives(start_delivery: StartDelivery, pool: str, protocol: str) -> None:
    """While the worker runs and when it stops."""
    with Receiver(protocol) as receiver:
        worker = start_delivery(pool, to=receiver, concurrency=10)
        ids = worker.publish_many("steps", MANY, STEPS)
        worker.wait_until_done(ids)
        worker.wait_for_all(ids)
        ids = worker.publish_many("steps", JOBS, STEPS)
        worker.wait_until_done(ids)
        stop(worker)
        count = MANY + JOBS
        expected = {"process support.apps.delivery_app.steps": count, "step 0": count, "step 1": count}
        assert names(worker) == expected


@PROTOCOLS
@POOLS
def test_jobs_go_on_while_the_collector_hangs(
    start_delivery: StartDelivery, pool: str, protocol: str
) -> None:
    """It takes every request and answers none."""
    with Receiver(protocol) as receiver:
        receiver.behave(Behaviour.HANGING)
        worker = start_delivery(pool, to=receiver, concurrency=10)
        started = time.monotonic()
        for _ in range(3):
            worker.wait_until_done(worker.publish_many("steps", JOBS, STEPS), timeout=20)
            time.sleep(0.3)  # for an export to begin
        assert time.monotonic() - started < SOON
        stop(worker)


@POOLS
def test_jobs_go_on_while_the_collector_is_away(start_delivery: StartDelivery, pool: str) -> None:
    """What could not be sent is sent when it is back: the exporter's own retries are at work."""
    with Receiver("grpc") as receiver:
        receiver.stop()
        worker = start_delivery(pool, to=receiver, concurrency=10, env={"OTEL_EXPORTER_OTLP_TIMEOUT": "60"})
        ids = worker.publish_many("steps", JOBS, STEPS)
        worker.wait_until_done(ids, timeout=SOON)
        time.sleep(1.0)
        receiver.start()
        worker.wait_for_all(ids, timeout=40)
        stop(worker)


@pytest.mark.parametrize("how", ["plain", "wrapped", "flushed"])
@POOLS
def test_a_hub_does_not_stop_for_an_export(pool: str, how: str) -> None:
    """Also in a process that is no worker, with an exporter in an exporter, and with an explicit flush."""
    with Receiver("grpc") as receiver:
        receiver.behave(Behaviour.HANGING)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", WATCHED, pool, how],
            env={**base_env(), **receiver.env()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < STALL, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
