"""CPU time and memory of an attempt, measured in the process that runs it: about 3 us.

What can be told depends on who else works in the process; the rooms say so when it starts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from otel_taskqueue import semconv
from otel_taskqueue.core.result import Usage

#: ``ru_maxrss`` is in KiB, on macOS in bytes (getrusage(2)).
_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
_statm: int | None = None
_page = 0
_cpu = _memory = False


class Start(NamedTuple):
    """Readings at the start: processor time of this thread (s), resident memory (bytes)."""

    cpu: float | None
    memory: int | None


def configure(*, cpu: bool, memory: bool) -> None:
    """Say what can be told here.

    ``cpu``: one attempt at a time in each thread (not so among greenlets). ``memory``: one attempt
    at a time in the whole process. Call it again after a fork: an inherited descriptor tells of the
    parent.
    """
    global _cpu, _memory, _statm, _page  # noqa: PLW0603  one process, one answer
    _close()
    _cpu, _memory, _statm = cpu and hasattr(time, "thread_time"), memory, None
    if memory:
        try:
            _statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
            _page = os.sysconf("SC_PAGE_SIZE")
        except OSError:
            pass


def start() -> Start | None:
    """Readings now; None when nothing can be told in this process."""
    if not (_cpu or _memory):
        return None
    return Start(time.thread_time() if _cpu else None, _resident())


def since(before: Start | None) -> Usage | None:
    """What was used since these readings."""
    if before is None:
        return None
    cpu = None if before.cpu is None else time.thread_time() - before.cpu
    if not _memory:
        return Usage(cpu)
    now = _resident()
    growth = None if now is None or before.memory is None else max(0, now - before.memory)
    return Usage(cpu, _peak(), growth)


def of_rusage(rusage: object) -> Usage | None:
    """What a child used that was waited for (``os.wait4``); None when there is no such record."""
    if rusage is None:
        return None
    cpu = float(getattr(rusage, "ru_utime", 0.0)) + float(getattr(rusage, "ru_stime", 0.0))
    return Usage(cpu, int(getattr(rusage, "ru_maxrss", 0)) * _MAXRSS_UNIT)


def attributes_of(usage: Usage | None) -> dict[str, float | int]:
    """What a span says of it."""
    found: dict[str, float | int] = {}
    if usage is not None and usage.cpu is not None:
        found[semconv.TASK_CPU_TIME] = usage.cpu
    if usage is not None and usage.peak is not None:
        found[semconv.TASK_MEMORY_PEAK] = usage.peak
    return found


def _resident() -> int | None:
    if _statm is None:
        return None
    try:
        return int(os.pread(_statm, 64, 0).split()[1]) * _page
    except (OSError, ValueError, IndexError):
        return None  # somebody closed all descriptors, and this one may be another file now


def _close() -> None:
    """Close the descriptor of before, as far as it is still ours."""
    if _statm is not None:
        with contextlib.suppress(OSError):
            if Path(f"/proc/self/fd/{_statm}").readlink().name == "statm":
                os.close(_statm)


def _peak() -> int:
    import resource  # noqa: PLC0415  not on every system

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
