"""A collector that is away under load: every finished job is there when it is back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from support.delivery import DeliveryHarness, StartDelivery
from support.otlp import Receiver

EVERY = 0.04  # seconds between two jobs, for each worker
BEFORE, AFTER = 1.0, 1.0  # seconds of load around the outage
#: Protocol -> seconds without a collector, and the exporter's timeout; the SDK's own is 10 s. gRPC connects
#: again at growing intervals of its own, and the exporter tries six times at most: it can miss a
#: collector that is back after 5 s with the SDK's timeout, and one that is back after 16 s with any.
SHORT = {"http/protobuf": (5, "10"), "grpc": (5, "60")}
LONG = {"http/protobuf": (20, "60"), "grpc": (12, "60")}


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


@pytest.mark.parametrize(
    "outages", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)], ids=["short", "long"]
)
@pytest.mark.timeout(240)
def test_nothing_is_lost(start_delivery: StartDelivery, outages: dict[str, tuple[int, str]]) -> None:
    """By both protocols, side by side."""
    with ExitStack() as stack, ThreadPoolExecutor(2) as side_by_side:
        workers = [
            start_delivery(
                to=stack.enter_context(Receiver(protocol)), env={"OTEL_EXPORTER_OTLP_TIMEOUT": timeout}
            )
            for protocol, (_seconds, timeout) in outages.items()
        ]
        ids = list(side_by_side.map(survive, workers, [seconds for seconds, _timeout in outages.values()]))
        for worker, sent in zip(workers, ids, strict=True):
            worker.wait_until_done(sent)
            worker.wait_for_all(sent, timeout=40)
            steps = [span for span in worker.receiver.spans() if span.name == "step 0"]
            assert len(steps) == len(sent)
            worker.stop_and_read()
