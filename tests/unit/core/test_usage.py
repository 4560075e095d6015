"""CPU time and memory of an attempt: what can be told, and that it is true."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_taskqueue import semconv
from otel_taskqueue.core import usage
from otel_taskqueue.core.result import Usage

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    yield
    usage.configure(cpu=False, memory=False)


def burn(seconds: float) -> None:
    """Use the processor for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


def test_nothing_is_told_where_nothing_is_the_attempt_s_own() -> None:
    """Greenlets."""
    usage.configure(cpu=False, memory=False)
    assert usage.start() is None
    assert usage.since(usage.start()) is None
    assert usage.attributes_of(None) == {}


def test_processor_time_is_that_of_this_thread() -> None:
    """Another thread works, too, and this one sleeps as well."""
    usage.configure(cpu=True, memory=False)
    before = usage.start()
    other = threading.Thread(target=burn, args=(0.3,))
    other.start()
    burn(0.1)
    time.sleep(0.1)
    other.join()
    used = usage.since(before)
    assert used is not None
    assert used.cpu is not None
    assert 0.1 <= used.cpu < 0.2
    assert (used.peak, used.growth) == (None, None)
    assert usage.attributes_of(used) == {semconv.TASK_CPU_TIME: used.cpu}


def test_memory_that_is_kept_is_growth() -> None:
    """64 MiB more than before."""
    usage.configure(cpu=False, memory=True)
    before = usage.start()
    kept = bytearray(b"x") * (64 * MIB)
    used = usage.since(before)
    assert used is not None
    assert used.cpu is None
    assert used.growth is not None
    assert 60 * MIB < used.growth < 80 * MIB
    assert used.peak is not None
    assert used.peak >= 64 * MIB
    assert usage.attributes_of(used) == {semconv.TASK_MEMORY_PEAK: used.peak}
    del kept


def test_memory_that_was_given_back_is_no_growth() -> None:
    """It shrank: 0, and never less."""
    usage.configure(cpu=False, memory=True)
    held = bytearray(b"x") * (64 * MIB)
    before = usage.start()
    del held
    used = usage.since(before)
    assert used is not None
    assert used.growth == 0


def test_a_forked_process_tells_of_itself() -> None:
    """An inherited descriptor would tell of the parent."""
    usage.configure(cpu=True, memory=True)
    ballast = bytearray(b"x") * (64 * MIB)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        usage.configure(cpu=True, memory=True)
        before = usage.start()
        more = bytearray(b"y") * (32 * MIB)
        used = usage.since(before)
        os.write(writing, str(used.growth if used else None).encode())
        os._exit(len(more) and 0)
    os.waitpid(pid, 0)
    assert 30 * MIB < int(os.read(reading, 64)) < 48 * MIB
    os.close(reading)
    os.close(writing)
    del ballast


def test_readings_outlive_the_descriptors_of_a_long_life() -> None:
    """Configured again and again, no descriptor is left behind."""
    usage.configure(cpu=True, memory=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        usage.configure(cpu=True, memory=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_child_that_was_waited_for_has_used_what_the_kernel_says() -> None:
    """wait4: user and system time, and the peak in bytes."""
    pid = os.fork()
    if pid == 0:
        burn(0.2)
        os._exit(0)
    _, _, rusage = os.wait4(pid, 0)
    used = usage.of_rusage(rusage)
    assert used is not None
    assert used.cpu is not None
    assert used.cpu == rusage.ru_utime + rusage.ru_stime >= 0.2
    assert used.peak == rusage.ru_maxrss * 1024
    assert usage.of_rusage(None) is None


def test_the_peak_is_the_process_s() -> None:
    """In bytes, not in the kernel's unit."""
    usage.configure(cpu=False, memory=True)
    used = usage.since(usage.start())
    assert used == Usage(None, used.peak if used else None, used.growth if used else None)
    assert used is not None
    assert used.peak == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_descriptor_that_somebody_else_has_closed_and_taken_is_left_alone(tmp_path: Path) -> None:
    """As embedded beat and daemons do: no memory is told, and the other file stays open."""
    usage.configure(cpu=True, memory=True)
    number = usage._statm
    assert number is not None
    os.close(number)
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    assert other == number
    used = usage.since(usage.start())
    assert used is not None
    assert used.growth is None
    usage.configure(cpu=False, memory=False)
    os.write(other, b"still open")
    os.close(other)
