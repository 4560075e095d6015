"""gateway.yaml under load: it is killed again and again, and the backend is away for a minute."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.backends.otelcol import running_collector
from support.collected import CollectedHarness, Told, options
from support.collecting import Backend, told_configs, told_worker_env
from support.harness import redis_broker
from support.otlp import Receiver
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("collector-outage"), pytest.mark.timeout(900)]

JOBS = 20_000
KILLS = (3_000, 6_000)  # jobs that have run when the gateway is killed
AWAY_FROM = 9_000  # jobs that have run when the backend goes away; the others run while it is away
KILL_WHILE_AWAY = 14_000
AWAY = 60.0  # seconds
PATIENCE = 240.0  # seconds for jobs to run: a busy machine is no failure
LINE = re.compile(r"line of ([0-9a-f-]{36})$")


class Ledger(Backend):
    """Keeps ids alone, and how often each came: a real backend would be busy with more."""

    def __init__(self) -> None:
        super().__init__()
        self.rest = Lines()
        self.span_ids: Counter[str] = Counter()

    def accept(self, signal: str, body: bytes) -> bytes:
        """Count the spans of an export."""
        assert signal == "traces"
        request = ExportTraceServiceRequest.FromString(body)
        ids = [
            s.span_id.hex()
            for group in request.resource_spans
            for scope in group.scope_spans
            for s in scope.spans
        ]
        with self._lock:
            self.span_ids.update(ids)
        return b""

    @property
    def line_ids(self) -> Counter[tuple[str, str]]:
        """How often each line came: the span that wrote it, and the job of which it speaks."""
        assert isinstance(self.rest, Lines)
        return self.rest.line_ids

    def has(self, one: Told) -> bool:
        """Whether both spans of a job and its line are here."""
        known = self.span_ids
        return one.span_id in known and one.parent_id in known and (one.span_id, one.job_id) in self.line_ids

    def missing(self, told: Sequence[Told]) -> dict[str, int]:
        """How many are not, by what they are."""
        return {
            "attempts": sum(one.span_id not in self.span_ids for one in told),
            "send spans": sum(one.parent_id not in self.span_ids for one in told),
            "lines": sum((one.span_id, one.job_id) not in self.line_ids for one in told),
        }


class Lines(Receiver):
    """The same for log records; metrics are let pass."""

    def __init__(self) -> None:
        super().__init__()
        self.line_ids: Counter[tuple[str, str]] = Counter()

    def accept(self, signal: str, body: bytes) -> bytes:
        """Count the lines of an export."""
        if signal == "logs":
            request = ExportLogsServiceRequest.FromString(body)
            records = [
                record
                for group in request.resource_logs
                for scope in group.scope_logs
                for record in scope.log_records
            ]
            found = [(LINE.match(record.body.string_value), record.span_id.hex()) for record in records]
            with self._lock:
                self.line_ids.update((span_id, match[1]) for match, span_id in found if match)
        return b""


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """The backend."""
    with Ledger() as running:
        assert isinstance(running, Ledger)
        yield running


@pytest.fixture
def worker(tmp_path: Path, redis_server: RedisServer, ledger: Ledger) -> Iterator[CollectedHarness]:
    """A prefork worker and a client, started as the gateway's header says."""
    env = told_worker_env("gateway.yaml")
    how = options(env=env, client_env={**env, "OTEL_BSP_SCHEDULE_DELAY": "1000"}, batch_delay=1.0)
    gateway = running_collector(told_configs("gateway.yaml"), tmp_path / "otelcol", env=ledger.addresses())
    harness = CollectedHarness(redis_broker(redis_server), ledger, tmp_path, pool="prefork", options=how)
    with gateway as ledger.before, harness as worker:
        assert isinstance(worker, CollectedHarness)
        yield worker


def test_nothing_is_lost(worker: CollectedHarness, ledger: Ledger) -> None:
    """20,000 jobs; SIGKILL to the gateway twice, the backend away for 60 s, and SIGKILL once more meanwhile.

    Every span that a worker and the client finished, and every line, is in the backend at least once.
    """
    gateway = ledger.before
    assert gateway is not None
    with worker.publishing(JOBS) as published:
        for jobs in KILLS:
            ran(worker, jobs)
            gateway.kill()
            gateway.start()
        ran(worker, AWAY_FROM)
        before = worker.told()
        ledger.stop()
        back, arrived = time.monotonic() + AWAY, ledger.span_ids.total()
        ran(worker, KILL_WHILE_AWAY)
        gateway.kill()
        gateway.start()
        threading.Event().wait(back - time.monotonic())
        assert arrived == ledger.span_ids.total()
        ledger.start()
        returned = time.monotonic()
        ids = published.result()
    ran(worker, JOBS)
    told = worker.told()
    assert Counter(one.job_id for one in told) == Counter(ids)

    all_there(told, ledger)
    print(f"all there {time.monotonic() - returned:.0f} s after the backend's return; came more than once:")
    print(f"of jobs before the outage {duplicates(before, ledger)}, of all {duplicates(told, ledger)}")


def ran(worker: CollectedHarness, jobs: int) -> None:
    """Wait until so many jobs have run."""
    wait_for(lambda: worker.told_count() >= jobs, PATIENCE, f"{jobs} jobs have run", worker.told_count)


def all_there(told: Sequence[Told], ledger: Ledger) -> None:
    """Wait until everything that the jobs told about has arrived."""
    left = list(told)

    def arrive() -> bool:
        left[:] = [one for one in left if not ledger.has(one)]
        return not left

    wait_for(arrive, 120, "everything has arrived", lambda: ledger.missing(left))


def duplicates(told: Sequence[Told], ledger: Ledger) -> str:
    """How many spans and lines came more than once, each time counted."""
    ids = [one.span_id for one in told] + [one.parent_id for one in told]
    spans = sum(ledger.span_ids[one] - 1 for one in ids)
    lines = sum(ledger.line_ids[one.span_id, one.job_id] - 1 for one in told)
    return f"{spans} of {len(ids)} spans, {lines} of {len(told)} lines"
