"""Real workers: `celery worker` with two prefork children, and `rq worker` that forks for each job.

Everything is exported by OTLP/HTTP. The queue is filled by an instrumented sender first, so that each
job has a trace; then one worker empties it. Rounds of all subjects are interleaved: what disturbs one
disturbs all.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from redis import Redis

from benchmarks.counting import ROOT, Meter, environment
from support import procfs

_TICK = os.sysconf("SC_CLK_TCK")
_LIMIT = 180.0
OURS = "otel_taskqueue_celery,otel_taskqueue_rq"


class Round(NamedTuple):
    """One worker's run: seconds of wall clock and of CPU of its main process per job; jobs per second."""

    per_second: float
    main_cpu: float


def prefork(subject: str, jobs: int, meter: Meter) -> Round:
    """Throughput and CPU of the MainProcess, between the first and the last twentieth of the queue."""
    _fill("celery", subject, jobs, meter)
    queue = Redis.from_url(meter.redis)
    words = ["celery", "-A", "benchmarks.application", "worker", "-c", "2", "-l", "ERROR"]
    words += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with _worker(words, subject, meter) as worker:
        began = _reach(queue, "celery", jobs * 19 // 20, worker)
        cpu, left = _cpu(worker.pid), queue.llen("celery")
        ended = _reach(queue, "celery", jobs // 20, worker)
        done = int(left) - int(queue.llen("celery"))
        spent = _cpu(worker.pid) - cpu
    return Round(done / (ended - began), spent / done)


def rq_fork(subject: str, jobs: int, meter: Meter) -> Round:
    """CPU of the worker and all its work-horses per job; what starting costs goes out of a difference."""
    short, long = (_rq_burst(subject, count, meter) for count in (max(1, jobs // 10), jobs))
    spent = (long - short) / (jobs - max(1, jobs // 10))
    return Round(0.0, spent)


def medians(
    run: Callable[[str, int, Meter], Round],
    subjects: Sequence[str],
    jobs: int,
    rounds: int,
    meter: Meter,
    progress: Callable[[str], None],
) -> dict[str, list[Round]]:
    """All rounds of each subject, interleaved."""
    found: dict[str, list[Round]] = {subject: [] for subject in subjects}
    for number in range(rounds):
        for subject in subjects:
            found[subject].append(run(subject, jobs, meter))
            progress(f"{run.__name__} {subject}, round {number + 1} of {rounds}: {found[subject][-1]}")
    return found


def median(rounds: Sequence[Round], what: str) -> float:
    """The median of one of the figures."""
    return statistics.median(getattr(round_, what) for round_ in rounds)


def _rq_burst(subject: str, jobs: int, meter: Meter) -> float:
    _fill("rq", subject, jobs, meter)
    words = ["rq", "worker", "--burst", "--url", meter.redis, "--logging_level", "ERROR"]
    process = _start(words, subject, meter)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or Redis.from_url(meter.redis).llen("rq:queue:default"):
        raise RuntimeError(f"rq worker, {subject}: exit status {process.returncode}, or jobs are left")
    return usage.ru_utime + usage.ru_stime


def _fill(library: str, subject: str, jobs: int, meter: Meter) -> None:
    words = ["python", "-m", "benchmarks.send", library, str(jobs), meter.redis]
    process = _start(words, subject, meter)
    if process.wait(_LIMIT):
        raise RuntimeError(f"the sender of {library}, {subject}: exit status {process.returncode}")


def _start(words: Sequence[str], subject: str, meter: Meter) -> subprocess.Popen[bytes]:
    folder = Path(sys.executable).parent
    prefix = [] if subject == "bare" else [str(folder / "opentelemetry-instrument")]
    return subprocess.Popen(
        [*prefix, str(folder / words[0]), *words[1:]],
        cwd=ROOT,
        env={**environment(), "BROKER": meter.redis, **_opentelemetry(subject, meter)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _opentelemetry(subject: str, meter: Meter) -> Mapping[str, str]:
    """Traces and metrics of one instrumentation; no other library makes spans."""
    others = "fastapi,redis,pika,logging,requests,urllib3"
    out = {"ours": f"{others},celery", "official": f"{others},{OURS}"}.get(subject, "*")
    return {
        "OTEL_SERVICE_NAME": "benchmark",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": meter.endpoint,
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": out,
        "OTEL_PYTHON_TASKQUEUE_TAKE_OVER": "true" if subject == "ours" else "false",
    }


@contextmanager
def _worker(words: Sequence[str], subject: str, meter: Meter) -> Iterator[subprocess.Popen[bytes]]:
    process = _start(words, subject, meter)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in [*procfs.children(process.pid), process.pid]:
                os.kill(pid, 9)
            process.wait()


def _reach(queue: Redis, name: str, size: int, worker: subprocess.Popen[bytes]) -> float:
    """When the queue was down to this size."""
    limit = time.monotonic() + _LIMIT
    while int(queue.llen(name)) > size:
        if worker.poll() is not None or time.monotonic() > limit:
            raise RuntimeError(f"{queue.llen(name)} jobs are left, exit status {worker.returncode}")
        time.sleep(0.005)
    return time.monotonic()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
