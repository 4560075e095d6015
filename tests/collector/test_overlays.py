"""gateway.yaml with each overlay, live: what a backend is asked, with which headers, what is tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.backends.documented import arguments_of, starts
from support.backends.otelcol import Collector, running_collector
from support.backends.programs import ROOT
from support.backends.prometheus import SHIPPED, install, running_prometheus
from support.backends.recorder import Recorder
from support.backends.sending import COUNTER, Sender, ids, lines, span_ids, wait_for_all
from support.otlp import Receiver
from support.wait import wait_for

SECRET = "key-4711-of-nobody"
SPANS = 1_000
BUCKETS = "traces_span_metrics_duration_seconds_bucket"
ELSEWHERE = "127.0.0.1:9"
#: What a backend answers when it is busy: once each, for every signal.
BUSY = (503, 429)
#: The gateway computes metrics of spans each 15 s; a test does not wait for that.
SOON = "yaml:connectors::span_metrics::metrics_flush_interval: 1s"

pytestmark = [pytest.mark.xdist_group("collector-overlays"), pytest.mark.timeout(120)]


def busy_at_first() -> Callable[[str], int]:
    """Answers that refuse the first two requests of each path."""
    asked: Counter[str] = Counter()

    def answer(path: str) -> int:
        asked[path] += 1
        return BUSY[asked[path] - 1] if asked[path] <= len(BUSY) else 200

    return answer


@contextmanager
def documented(
    page: str, directory: Path, env: Mapping[str, str], count: int = 2
) -> Iterator[tuple[Collector, Sender]]:
    """The gateway with ``count - 1`` overlays, as a page starts it, and a client of it."""
    start = next(start for start in starts(f"backends/{page}.md") if len(start.configs) == count)
    with running_collector([*start.configs, SOON], directory, env=env) as collector:
        yield collector, Sender(collector.http)


def wait_for_everything(backend: Recorder, sent: int) -> None:
    """Every span and every line has come; and the last value of the counter."""
    wait_for_all(lambda: [span.span_id for span in backend.spans], span_ids(sent), "spans", 30)
    wait_for_all(lambda: [str(line.body) for line in backend.logs], lines(sent), "lines", 30)
    wait_for_counter(backend, sent)


def wait_for_counter(backend: Recorder, value: int) -> None:
    """The counter's last value has come."""

    def values() -> list[float | None]:
        return [point.value for point in backend.metrics if point.name == COUNTER]

    wait_for(lambda: value in values(), 30, f"{COUNTER} = {value}", values)


def statuses(backend: Recorder, path: str) -> list[int]:
    """What was answered on a path, the first three answers."""
    return [one.status for one in backend.asked if one.path == path][:3]


def test_elasticsearch_gets_all_signals_with_its_key(tmp_path: Path) -> None:
    """OTLP/HTTP below the given path; what was refused by 503 and 429 comes again."""
    with Recorder(busy_at_first()) as backend:
        env = {"ELASTICSEARCH_ENDPOINT": f"{backend.url}/_otlp", "ELASTICSEARCH_API_KEY": SECRET}
        with documented("elasticsearch", tmp_path, env) as (collector, sender):
            sender.send(SPANS)
            wait_for_everything(backend, SPANS)
            wait_for_deltas(backend)

    assert {one.path for one in backend.asked} == {f"/_otlp/v1/{s}" for s in ("traces", "metrics", "logs")}
    assert {one.headers.get("authorization") for one in backend.asked} == {f"ApiKey {SECRET}"}
    for path in {one.path for one in backend.asked}:
        assert statuses(backend, path) == [*BUSY, 200]
    assert SECRET not in collector.log()


def test_datadog_gets_all_signals_with_its_key(tmp_path: Path) -> None:
    """OTLP/HTTP with Datadog's headers; what was refused by 503 and 429 comes again."""
    with Recorder(busy_at_first()) as backend:
        env = {"DD_OTLP_ENDPOINT": backend.url, "DD_API_KEY": SECRET, "DD_OTLP_SOURCE": "shop"}
        with documented("datadog", tmp_path, env) as (collector, sender):
            sender.send(SPANS)
            wait_for_everything(backend, SPANS)
            wait_for_deltas(backend)

    assert {one.path for one in backend.asked} == {f"/v1/{s}" for s in ("traces", "metrics", "logs")}
    assert {one.headers.get("dd-api-key") for one in backend.asked} == {SECRET}
    sources = {one.headers.get("dd-otlp-source") for one in backend.asked if one.signal == "traces"}
    assert sources == {"shop"}
    settings = {one.headers.get("dd-otel-metric-config") for one in backend.asked if one.signal == "metrics"}
    assert settings == {'{"resource_attributes_as_tags": true}'}
    for path in {one.path for one in backend.asked}:
        assert statuses(backend, path) == [*BUSY, 200]
    assert SECRET not in collector.log()


def wait_for_deltas(backend: Recorder) -> None:
    """What the gateway computes from spans comes as deltas: these backends want nothing else."""

    def computed() -> set[tuple[str, str]]:
        return {(p.name, p.temporality) for p in backend.metrics if p.name.startswith("traces.")}

    wait_for(computed, 40, "metrics of spans", lambda: {point.name for point in backend.metrics})
    assert {temporality for _name, temporality in computed()} == {"DELTA"}


def test_overlays_for_different_signals_go_together(tmp_path: Path) -> None:
    """Traces to Tempo, metrics to Prometheus, logs to Loki: each at its own path, with its tenant."""
    with Receiver("grpc") as tempo, Recorder() as others:
        env = {
            "TRACES_ENDPOINT": f"127.0.0.1:{tempo.port}",
            "PROMETHEUS_ENDPOINT": others.url,
            "LOKI_ENDPOINT": others.url,
            "LOKI_TENANT": "shop",
        }
        with documented("loki", tmp_path, env, count=4) as (_, sender):
            sender.send(SPANS)
            wait_for_all(lambda: [span.span_id for span in tempo.spans()], span_ids(SPANS), "spans", 30)
            wait_for_all(lambda: [str(line.body) for line in others.logs], lines(SPANS), "lines", 30)
            wait_for_counter(others, SPANS)

    by_signal = {one.signal: one for one in others.asked}
    assert {one.path for one in others.asked} == {"/otlp/v1/logs", "/api/v1/otlp/v1/metrics"}
    assert by_signal["logs"].headers["x-scope-orgid"] == "shop"
    record = others.records[0]
    assert (record.trace_id, {pair.key for pair in record.attributes}) == (
        (1).to_bytes(16, "big"),
        {"messaging.message.id"},
    )


def test_what_is_sent_is_found_in_prometheus(tmp_path: Path) -> None:
    """The real one as the page starts it: names and labels that the page speaks of, and a way to a trace."""
    config, *arguments = arguments_of("backends/prometheus.md", "prometheus")
    assert config == f"--config.file={SHIPPED.relative_to(ROOT)}"
    with running_prometheus(tmp_path, config=install(tmp_path), arguments=arguments) as prometheus:
        env = {
            "TRACES_ENDPOINT": ELSEWHERE,
            "LOGS_ENDPOINT": f"http://{ELSEWHERE}",
            "PROMETHEUS_ENDPOINT": prometheus.url,
        }
        with documented("prometheus", tmp_path, env) as (_, sender):
            sender.send(SPANS)
            found = prometheus.wait_for_query(
                "taskqueue_task_runs_total", lambda rows: rows and rows[0].value == SPANS
            )
            kept = wait_for(lambda: prometheus.exemplars(BUCKETS), 30, "an exemplar", prometheus.log)
    assert [row.labels["job"] for row in found] == ["shop-worker"]
    assert kept <= {ids(number)[0].hex() for number in range(SPANS)}
