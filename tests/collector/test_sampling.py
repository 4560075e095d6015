"""The second tier keeps what somebody would look for, whole, and counts everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import sqrt
from pathlib import Path
from socket import gethostname

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from otel_taskqueue import semconv
from support.backends.otelcol import Collector, running_collector
from support.backends.prometheus import Sample, running_prometheus
from support.backends.tiers import SAMPLING, Backend, Tiers, running_tiers, total
from support.backends.traffic import BROKEN, KINDS, PLAIN, SPECIAL, Trace, Traffic, ids
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("collector-sampling"), pytest.mark.timeout(120)]
PROBABILITY = 0.1
ACCEPTED = "otelcol_receiver_accepted_spans"
DECIDED = "otelcol_processor_tail_sampling_global_count_traces_sampled"
NEW_TRACES = "otelcol_processor_tail_sampling_new_trace_id_received"
QUEUED = "otelcol_exporter_queue_size"
EDGES = 'traces_service_graph_request_total{client="web", server="worker"}'
SPANS = 'traces_span_metrics_calls_total{span_kind="SPAN_KIND_CONSUMER"}'
SAMPLED = "otelcol_processor_tail_sampling_count_traces_sampled"
EACH = 50
#: What is special enough for which policy; the first that fits counts.
POLICIES = {
    "failed": ("failed", "expected"),
    "retried": ("retried",),
    "killed": ("killed", "timeout"),
    "long_wait": ("waited",),
    "slow_job": ("slow",),
    "error": (BROKEN,),
}


def special(traces: Sequence[Trace]) -> list[Trace]:
    return [trace for trace in traces if trace.kind in SPECIAL]


def runs(traces: Sequence[Trace]) -> Counter[object]:
    """How many attempts ended how."""
    return Counter(attempt.outcome.value for trace in traces for attempt in KINDS[trace.kind])


@pytest.fixture(scope="module")
def tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiers]:
    with running_tiers(tmp_path_factory.mktemp("tiers")) as running:
        yield running


@pytest.fixture(scope="module")
def traces(tiers: Tiers) -> list[Trace]:
    """Sent in two parts: what the web application tells, and what the worker tells later."""
    traffic = Traffic(tiers.agent.grpc)
    made = traffic.make({kind: 2000 if kind == PLAIN else 2 * EACH for kind in KINDS})
    traffic.send_requests(made)
    traffic.send_jobs(made)
    traffic.close()
    return made


def test_every_trace_worth_keeping_arrives_whole_and_once(tiers: Tiers, traces: list[Trace]) -> None:
    """Failed, failed as expected, retried, killed, timed out, waited long, slow, and a failed request."""
    tiers.backend.wait_for(special(traces))
    assert tiers.backend.duplicates() == 0


def test_all_spans_of_a_trace_are_at_one_collector(tiers: Tiers, traces: list[Trace]) -> None:
    """The agent divides the traces among the collectors, and tears none."""
    spans = sum(len(trace.span_ids) for trace in traces)
    wait_for(lambda: tiers.accepted() == spans, 20, f"{spans} spans accepted", tiers.accepted)
    seen = [total([one], NEW_TRACES) for one in tiers.samplers]
    assert min(seen) > len(traces) / 4
    assert sum(seen) == len(traces)


def test_the_rest_is_kept_by_its_share_and_whole(tiers: Tiers, traces: list[Trace]) -> None:
    """A tenth, within what chance allows (five standard deviations)."""
    spans = sum(len(trace.span_ids) for trace in traces)
    wait_for(lambda: tiers.accepted() == spans, 20, f"{spans} spans accepted", tiers.accepted)
    wait_for(
        lambda: len(tiers.backend.trace_ids) == total(tiers.samplers, DECIDED, sampled="true"),
        20,
        "all sampled traces are at the backend",
        lambda: len(tiers.backend.trace_ids),
    )
    rest = [trace for trace in traces if trace.kind not in SPECIAL]
    kept = [trace for trace in rest if trace.trace_id in tiers.backend.trace_ids]
    expected, deviation = len(rest) * PROBABILITY, sqrt(len(rest) * PROBABILITY * (1 - PROBABILITY))
    assert abs(len(kept) - expected) < 5 * deviation, f"{len(kept)} of {len(rest)}"
    tiers.backend.wait_for(kept)


def test_the_metrics_count_every_run(tiers: Tiers, traces: list[Trace]) -> None:
    """They are made before anything is dropped: one call for each attempt, and for each span."""

    def counted() -> Counter[object]:
        return tiers.backend.calls(semconv.TASK_OUTCOME, span__kind="SPAN_KIND_CONSUMER")

    wait_for(lambda: counted() == runs(traces), 20, f"calls are {runs(traces)}", counted)
    counts = tiers.backend.calls("service.name")
    assert counts == {
        "web": sum(len(trace.request) for trace in traces),
        "worker": sum(len(trace.job) for trace in traces),
    }


def test_the_graph_has_an_edge_from_the_web_application_to_the_worker(
    tiers: Tiers, traces: list[Trace]
) -> None:
    """From the spans of both, before sampling."""

    def edges() -> set[tuple[object, ...]]:
        points = tiers.backend.rest.metrics()
        return {
            (point.attributes["client"], point.attributes["server"], point.attributes["connection_type"])
            for point in points
            if point.name == "traces_service_graph_request_total"
        }

    wait_for(lambda: ("web", "worker", "messaging_system") in edges(), 20, "the edge", edges)


def test_two_collectors_write_series_of_their_own(tmp_path: Path) -> None:
    """In a real Prometheus: sums over them are right at each moment, and none seems to start again."""
    with ExitStack() as stack:
        prometheus = stack.enter_context(running_prometheus(tmp_path, otlp=True))
        running = stack.enter_context(running_tiers(tmp_path, METRICS_ENDPOINT=prometheus.otlp))
        traffic = Traffic(running.agent.grpc)
        for sent in range(100, 500, 100):
            made = traffic.make({PLAIN: 100})
            traffic.send_requests(made)
            traffic.send_jobs(made)
            for counter in (EDGES, SPANS):
                prometheus.wait_for_query(f"sum({counter})", lambda rows, n=sent: has_one(rows, n))
        for counter in (EDGES, SPANS):
            resets = prometheus.query(f"resets({counter}[5m])")
            assert [row.value for row in resets] == [0.0, 0.0], resets
            assert len({row.labels["collector_instance_id"] for row in resets}) == 2
        names = {row.labels["collector_instance_id"] for row in prometheus.query(EDGES)}
        assert names == {gethostname(), "sampling-1"}


def has_one(rows: Sequence[Sample], value: float) -> bool:
    """Whether an answer is this number."""
    return [row.value for row in rows] == [value]


def test_they_complain_about_nothing(tiers: Tiers, traces: list[Trace]) -> None:
    """No deprecated name, no variable that is not set."""
    for collector in (tiers.agent, *tiers.samplers):
        complaints = [
            line for line in collector.log().splitlines() if "\twarn\t" in line or "\terror\t" in line
        ]
        assert complaints == []


@contextmanager
def one_collector(directory: Path, **env: str) -> Iterator[tuple[Collector, Backend, Traffic]]:
    """A sampling collector without a first tier."""
    with ExitStack() as stack:
        backend = Backend(stack)
        running = running_collector(SAMPLING, directory, env={**backend.env(), **env})
        collector = stack.enter_context(running)
        yield collector, backend, Traffic(collector.grpc)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counter[str], set[str]]]:
    """One collector without a baseline: which policy kept how many traces, and the kinds that were kept."""
    directory = tmp_path_factory.mktemp("judged")
    with one_collector(directory, SAMPLING_BASELINE_PERCENT="0") as (collector, backend, traffic):
        made = traffic.make(dict.fromkeys(KINDS, EACH))
        traffic.send_requests(made)
        traffic.send_jobs(made)
        backend.wait_for(special(made))
        spans = sum(len(trace.span_ids) for trace in made)
        wait_for(lambda: total([collector], ACCEPTED) == spans, 20, "all is accepted")
        policies = [*POLICIES, "baseline"]
        yield (
            Counter({name: total([collector], SAMPLED, policy=name, sampled="true") for name in policies}),
            {trace.kind for trace in made if trace.trace_id in backend.trace_ids},
        )


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_keeps_its_traces(policy: str, judged: tuple[Counter[str], set[str]]) -> None:
    """As many as there are, and no other policy had to."""
    kept, _kinds = judged
    assert kept[policy] == EACH * len(POLICIES[policy]), kept


def test_what_is_just_below_a_threshold_is_not_special(judged: tuple[Counter[str], set[str]]) -> None:
    """29.9 s of waiting, 59.9 s of work, and plain traces, are left to the baseline."""
    kept, kinds = judged
    assert kept["baseline"] == 0
    assert kinds == set(SPECIAL)


def test_an_attempt_that_fails_after_the_decision_is_kept(tmp_path: Path) -> None:
    """The request was judged and dropped long ago: a job that then fails is judged for itself."""
    env = {"SAMPLING_BASELINE_PERCENT": "0", "SAMPLING_DECISION_WAIT": "1s"}
    with one_collector(tmp_path, **env) as (collector, backend, traffic):
        late = traffic.make({kind: 10 for kind in SPECIAL if kind != BROKEN})
        traffic.send_requests(late)
        wait_for(
            lambda: total([collector], DECIDED, sampled="false") == len(late), 20, "requests are dropped"
        )
        traffic.send_jobs(late)
        backend.wait_for(late, lambda trace: ids(trace.job))
        assert len(backend.spans) == sum(len(trace.job) for trace in late), "the requests were gone"
        traffic.send_requests(late)
        backend.wait_for(late)  # what comes later follows


def test_a_second_attempt_is_kept_by_itself(tmp_path: Path) -> None:
    """Also where the collector never saw that the first one asked for it."""
    with one_collector(tmp_path, SAMPLING_BASELINE_PERCENT="0") as (_collector, backend, traffic):
        retried = traffic.make({"retried": EACH})

        def second(trace: Trace) -> list[ReadableSpan]:
            return [span for span in trace.job if (span.attributes or {}).get(semconv.TASK_ATTEMPT) == 2]

        traffic.send(span for trace in retried for span in second(trace))
        backend.wait_for(retried, lambda trace: ids(second(trace)))


def test_what_was_kept_survives_a_kill_while_the_backend_is_away(tmp_path: Path) -> None:
    """The queue behind the sampling is on disk."""
    with one_collector(tmp_path) as (collector, backend, traffic):
        backend.traces.stop()
        made = traffic.make(dict.fromkeys(SPECIAL, EACH))
        traffic.send_requests(made)
        traffic.send_jobs(made)
        spans = sum(len(trace.span_ids) for trace in made)
        wait_for(lambda: total([collector], QUEUED, data_type="traces") == spans, 20, "all is in the queue")
        collector.kill()
        backend.traces.start()
        collector.start()
        backend.wait_for(made)
