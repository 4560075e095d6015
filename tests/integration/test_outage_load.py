"""A collector that is away under load: every finished job is there when it is back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.delivery import DeliveryHarness, StartDelivery
from support.otlp import Receiver

EVERY = 0.04  # seconds between two jobs, for each worker
BEFORE, AFTER = 1.0, 1.0  # seconds of load around the outage
WITH_TIMEOUT = {5: "10", 20: "60"}  # the SDK's own value is 10


def survive(worker: DeliveryHarness, seconds: float) -> list[str]:
    """Jobs all the time, the collector away in the middle; the ids of all jobs."""
    receiver = worker.receiver
    with ThreadPoolExecutor(1) as background:
        count = int((BEFORE + seconds + AFTER) / EVERY)
        publishing = background.submit(worker.publish_many, "steps", count, 1, every=EVERY)
        receiver.wait_for_spans(lambda span: span.kind == "CONSUMER", int(BEFORE / EVERY))
        receiver.stop()
        before = len(receiver.spans())
        back = time.monotonic() + seconds
        threading.Event().wait(seconds)
        assert len(receiver.spans()) == before
        assert time.monotonic() >= back
        receiver.start()
        return publishing.result()


@pytest.mark.parametrize("seconds", [5, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.timeout(240)
def test_nothing_is_lost(start_delivery: StartDelivery, seconds: int) -> None:
    """Away for 5 s with the SDK's defaults, for 20 s with a timeout of 60 s, by both protocols."""
    with Receiver() as http, Receiver("grpc") as grpc, ThreadPoolExecutor(2) as side_by_side:
        env = {"OTEL_EXPORTER_OTLP_TIMEOUT": WITH_TIMEOUT[seconds]}
        workers = [start_delivery(to=receiver, env=env) for receiver in (http, grpc)]
        ids = list(side_by_side.map(survive, workers, [seconds] * len(workers)))
        for worker, sent in zip(workers, ids, strict=True):
            worker.wait_until_done(sent)
            worker.wait_for_all(sent, timeout=40)
            steps = [span for span in worker.receiver.spans() if span.name == "step 0"]
            assert len(steps) == len(sent)
            worker.stop_and_read()
