"""Jobs that measure with instruments of their own, as an application does; they know no queue library."""

from __future__ import annotations

import os
import signal
import threading
import time

from opentelemetry import metrics

from support.apps.notes import note

meter = metrics.get_meter("shop", "1.0", attributes={"team": "orders"})
orders = meter.create_counter("shop.orders", "{order}", "Orders that were paid.")
stock = meter.create_up_down_counter("shop.stock", "{item}")
BOUNDS = [1.0, 2.0, 5.0]
seconds = meter.create_histogram("shop.seconds", "s", explicit_bucket_boundaries_advisory=BOUNDS)


def job_id() -> str:
    """The id of the job that runs; the rooms put their own in its place."""
    raise NotImplementedError


def record(number: int = 0) -> None:
    """Measure once with each kind of instrument; one of them is made here."""
    orders.add(2, {"kind": "card"})
    orders.add(1, {"kind": "card"})
    orders.add(1, {"kind": "cash"})
    stock.add(-1)
    seconds.record(1.5, {"number": number % 2})
    metrics.get_meter("late").create_histogram(
        "shop.late", explicit_bucket_boundaries_advisory=(10, 20)
    ).record(15)
    metrics.get_meter("late").create_gauge("shop.number").set(7)


def flush() -> None:
    """Flush by hand, as short scripts do, and note how long that took."""
    orders.add(1, {"kind": "card"})
    started = time.monotonic()
    provider = metrics.get_meter_provider()
    flushed = provider.force_flush()  # type: ignore[attr-defined]
    note(job_id(), "flushed", seconds=time.monotonic() - started, flushed=flushed)


def record_for(duration: float, every: float = 0.1) -> None:
    """Measure again and again."""
    end = time.monotonic() + duration
    while time.monotonic() < end:
        orders.add(1, {"kind": "slow"})
        time.sleep(every)


def record_and_die() -> None:
    """Measure, measure again more than a second later, then end by SIGKILL."""
    for _ in range(3):
        orders.add(1, {"kind": "killed"})
    time.sleep(1.2)
    orders.add(1, {"kind": "killed"})
    orders.add(1, {"kind": "killed"})
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


def record_everywhere(times: int = 50) -> None:
    """Measure in threads of the job, and in a process that it forks."""

    def measure() -> None:
        for _ in range(times):
            orders.add(1, {"kind": "thread"})

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pid = os.fork()
    if pid == 0:
        orders.add(1, {"kind": "grandchild"})
        os._exit(0)
    os.waitpid(pid, 0)
