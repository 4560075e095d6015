"""The first tier keeps what it was given, whatever becomes of it and of the second."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from support.backends.tiers import Tiers, running_tiers
from support.backends.traffic import SPECIAL, Trace, Traffic
from support.collecting import PROTOCOLS, hex_ids, takes_the_largest_batch
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("collector-agent"), pytest.mark.timeout(120)]
EACH = 25
# More than the 4 MiB at which a gRPC server refuses as it comes.
TRACEBACK, FAILED = 60_000, 100
UNSPECIFIED, TRACE, DEBUG, INFO, ERROR = 0, 1, 5, 9, 17


@pytest.fixture
def tiers(tmp_path: Path) -> Iterator[Tiers]:
    with running_tiers(tmp_path, samplers=1, SAMPLING_BASELINE_PERCENT="0") as running:
        yield running


def written(tiers: Tiers) -> Counter[tuple[str, str]]:
    """Every span in the disk channel."""
    files = sorted((tiers.agent.directory / "files").glob("traces*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return Counter(
        (span["traceId"], span["spanId"])
        for line in lines
        for group in line["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    )


def spans(traces: Iterable[Trace]) -> Counter[tuple[str, str]]:
    """Each span of these traces, once."""
    return Counter((trace.trace_id, span) for trace in traces for span in trace.span_ids)


def test_what_was_accepted_survives_a_kill_of_both_tiers(tiers: Tiers) -> None:
    """No sampling collector is there, the agent dies with all: it is in its queue, and once in its file."""
    (sampler,) = tiers.samplers
    sampler.kill()
    traffic = Traffic(tiers.agent.grpc)
    before = traffic.make(dict.fromkeys(SPECIAL, EACH))
    traffic.send_requests(before)
    traffic.send_jobs(before)
    tiers.agent.kill()
    assert written(tiers) == spans(before), "what was accepted is written"

    tiers.agent.start()
    after = traffic.make(dict.fromkeys(SPECIAL, EACH))
    traffic.send_requests(after)
    traffic.send_jobs(after)
    sampler.start()
    tiers.backend.wait_for(before + after)
    assert written(tiers) == spans(before + after), "the file was not begun anew"


def test_a_batch_with_long_tracebacks_passes(tiers: Tiers) -> None:
    """6 MB in one export: through both tiers, into the file in one line, and out of it again."""
    traffic = Traffic(tiers.agent.grpc, traceback=TRACEBACK)
    made = traffic.make({"failed": FAILED})
    traffic.send_jobs(made)
    traffic.send_requests(made)
    tiers.backend.wait_for(made)
    with tiers.resampling():
        once = sum(len(trace.span_ids) for trace in made)
        wait_for(lambda: tiers.backend.duplicates() == once, 30, f"{once} more", tiers.backend.duplicates)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_largest_batch_is_taken(tiers: Tiers, protocol: str) -> None:
    """30 MB in one export, into the disk channel."""
    ids = hex_ids(takes_the_largest_batch(tiers.agent, protocol))
    assert {span_id for _trace_id, span_id in written(tiers)} == ids


def test_debug_lines_stay_on_the_host(tiers: Tiers) -> None:
    """Records without a severity are no DEBUG lines."""
    severities = (UNSPECIFIED, TRACE, DEBUG, INFO, ERROR)
    request = ExportLogsServiceRequest()
    for severity in severities:
        record = request.resource_logs.add().scope_logs.add().log_records.add()
        record.severity_number = severity
        record.time_unix_nano = time.time_ns()
        record.body.string_value = str(severity)
    headers = {"Content-Type": "application/x-protobuf"}
    url = f"http://{tiers.agent.http}/v1/logs"
    with urllib.request.urlopen(urllib.request.Request(url, request.SerializeToString(), headers)) as answer:
        assert answer.status == 200
    logs = tiers.backend.rest.logs
    wait_for(lambda: any(line.body == str(ERROR) for line in logs()), 20, "the error", logs)
    assert sorted(int(line.body) for line in logs()) == [UNSPECIFIED, INFO, ERROR]
