"""What real workers emit is what the policies of the second tier look for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_taskqueue import semconv
from support.backends.tiers import Tiers, running_tiers
from support.collecting import ADDRESS, told_worker_env
from support.harness import Options, redis_broker
from support.otlp import Receiver, Span
from support.servers import RedisServer
from support.truth import APP, TruthHarness
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("collector-workers"), pytest.mark.timeout(120)]
SUCCEED = 10
CHILDREN = 3
LONG = 2.2
#: Tasks of the truth, by the outcomes of their attempts; the nap needs the lowered threshold.
KEPT = {
    "fail": ("failure",),
    "fail_as_expected": ("failure",),
    "retry_by_hand": ("retry", "success"),
    "retry_and_fail": ("retry", "retry", "failure"),
    "die": ("lost",),
    "overrun": ("timeout",),
    "nap": ("success",),
}
ARGUMENTS = {"die": ["SIGKILL"], "nap": [LONG]}


class ThroughTheTiers(Receiver):
    """The backend's receiver, which processes reach through the agent."""

    def __init__(self, tiers: Tiers) -> None:
        super().__init__("grpc")
        self._tiers = tiers

    def env(self) -> dict[str, str]:
        return {
            **told_worker_env("agent.yaml"),
            # Told is the SDK's default, whose port is another one here.
            ADDRESS: f"http://{self._tiers.agent.http}",
        }

    def spans(self) -> list[Span]:
        return self._tiers.backend.traces.spans()


@pytest.fixture
def tiers(tmp_path: Path) -> Iterator[Tiers]:
    thresholds = {
        "SAMPLING_BASELINE_PERCENT": "0",
        "SAMPLING_SLOW_JOB": "2s",
        "SAMPLING_LONG_WAIT_SECONDS": "1.5",
        "SAMPLING_DECISION_WAIT": "60s",
    }
    with running_tiers(tmp_path / "tiers", **thresholds) as running:
        yield running


def outcomes(spans: list[Span]) -> tuple[str, ...]:
    """How the attempts of one trace ended, in order."""
    attempts = sorted((span for span in spans if span.kind == "CONSUMER"), key=lambda span: span.start)
    return tuple(str(span.attributes[semconv.TASK_OUTCOME]) for span in attempts)


@pytest.fixture
def worker(tiers: Tiers, redis_server: RedisServer, tmp_path: Path) -> Iterator[TruthHarness]:
    broker, receiver = redis_broker(redis_server), ThroughTheTiers(tiers)
    options = Options(app=APP, concurrency=CHILDREN)
    with TruthHarness(broker, receiver, tmp_path, pool="prefork", options=options) as running:
        assert isinstance(running, TruthHarness)
        yield running
        assert running.worker is not None
        running.worker.kill()  # a warm stop takes seconds


def request(worker: TruthHarness, task: str, *arguments: object) -> str:
    """Enqueue from inside a web request; the id of its trace."""
    reply = worker.client.call("enqueue", [[task, 1, list(arguments), {}]], request=f"POST /{task}")
    assert reply.error is None, reply.error
    return reply.trace_id


def test_what_real_workers_emit_is_kept(tiers: Tiers, worker: TruthHarness) -> None:
    """Failures, retries, a killed child, a time limit, a slow job, one that waited; not what succeeds."""
    trace = worker.receiver.trace
    for _ in range(SUCCEED):
        request(worker, "succeed")
    traces = {task: request(worker, task, *ARGUMENTS.get(task, [])) for task in KEPT}

    def kept() -> dict[str, tuple[str, ...]]:
        return {task: outcomes(trace(trace_id)) for task, trace_id in traces.items()}

    wait_for(lambda: kept() == KEPT, 40, "all attempts", lambda: (kept(), worker.explain()))
    # All children sleep; what comes then has to wait, and is kept for that.
    for _ in range(CHILDREN):
        request(worker, "nap", LONG)
    waited = request(worker, "succeed")
    wait_for(lambda: outcomes(trace(waited)) == ("success",), 20, "the one that waited", worker.explain)
    for trace_id in (*traces.values(), waited):
        worker.wait_for_whole_trace(trace_id)
        assert [span.name.split()[0] for span in trace(trace_id) if not span.parent_id] == ["POST"]
    ends = [attempt for attempts in KEPT.values() for attempt in attempts]
    expected = Counter([*ends, *["success"] * (SUCCEED + CHILDREN + 1)])
    for counted in (counted_by_spans, counted_by_the_package):
        wait_for(lambda of=counted: of(tiers) == expected, 20, f"{expected}", lambda of=counted: of(tiers))
    succeeded = {span.trace_id for span in worker.receiver.spans() if span.name == f"process {APP}.succeed"}
    assert succeeded == {waited}, "what just succeeds is dropped"


def counted_by_spans(tiers: Tiers) -> Counter[object]:
    """By span_metrics, before sampling."""
    return tiers.backend.calls(semconv.TASK_OUTCOME, span__kind="SPAN_KIND_CONSUMER")


def counted_by_the_package(tiers: Tiers) -> Counter[object]:
    """By the worker itself, passed on by both tiers."""
    return tiers.backend.runs()
