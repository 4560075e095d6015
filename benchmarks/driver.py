"""A process that measures: it reads loads, one JSON object a line, and forks for each.

The fork starts from all libraries imported and nothing instrumented, sets up one subject, warms it up
and runs two loops of different lengths. What the loops cost differs by ``long - short`` operations; what
they have in common goes out of the difference.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import callgrind
from benchmarks.operations import OPERATIONS, preload
from benchmarks.pipeline import Pipeline

WARM_UP = 16


def main() -> None:
    """Serve until the input ends."""
    preload()
    gc.collect()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _child(json.loads(line))
        os.waitpid(pid, 0)
        print(json.dumps({"pid": pid, "done": True}), flush=True)


def _child(load: dict[str, Any]) -> None:
    try:
        answer = measure(load)
    except BaseException:  # noqa: BLE001  the caller is told, whatever it is
        answer = {"error": traceback.format_exc()}
    os.write(1, (json.dumps(answer) + "\n").encode())
    os._exit(0)


def measure(load: dict[str, Any]) -> dict[str, Any]:
    """The costs of the two loops (0 under callgrind: they are in its dumps), the spans, the memory."""
    pipeline = None
    sampled = not load["unsampled"]
    if load["subject"] != "bare":
        pipeline = Pipeline(sampled=sampled, with_metrics=load["metrics"], endpoint=load["endpoint"])
    operation = OPERATIONS[load["operation"]](load["subject"], load["redis"], sampled=sampled)
    lengths = (load["short"], load["long"])
    operation.prepare(WARM_UP + sum(lengths))
    flush = pipeline.flush if pipeline is not None else lambda: 0
    operation.run(WARM_UP)
    before = flush()
    gc.collect()
    gc.disable()
    read = _callgrind() if load["callgrind"] else _cpu()
    costs: list[int] = []
    for count in lengths:
        operation.run(count)
        flush()
        costs.append(read())
    return {"costs": costs, "spans": flush() - before, "rss": _resident()}


def _callgrind() -> Callable[[], int]:
    """Each mark makes callgrind write what was counted since the one before."""
    callgrind.request(callgrind.START_INSTRUMENTATION)

    def mark() -> int:
        callgrind.request(callgrind.DUMP_STATS)
        return 0

    return mark


def _cpu() -> Callable[[], int]:
    """Processor time of all threads of this process since the mark before (ns)."""
    last = time.process_time_ns()

    def mark() -> int:
        nonlocal last
        now = time.process_time_ns()
        spent, last = now - last, now
        return spent

    return mark


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
