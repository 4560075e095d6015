"""local.yaml: real jobs of Celery and RQ, seen at every place where its header says that they are."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.backends.otelcol import Collector, running_collector
from support.celery_harness import CeleryHarness
from support.collecting import (
    PROTOCOLS,
    Backend,
    hex_ids,
    post_logs,
    takes_the_largest_batch,
    text_of,
    told_configs,
    told_worker_env,
)
from support.harness import Harness, Options, redis_broker
from support.otlp import Span
from support.rq_harness import RQHarness
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("collector-local"), pytest.mark.timeout(180)]

QUICK = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
CELERY_CASES = {
    "write_logs": ["success"],
    "fail": ["failure"],
    "autoretry_until_failure": ["retry", "failure"],
    "kill_self": ["lost"],
}
RQ_CASES = {"write_logs": ["success"], "fail": ["failure"]}
SAMPLE = re.compile(r"^(\w+)\{(.*)\} ([0-9.e+-]+)(?: [0-9.e+]+)?(?: #.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Scene:
    """A collector, two workers behind which jobs have run, and what came out."""

    collector: Collector
    backend: Backend
    workers: Mapping[str, Harness]
    ids: Mapping[str, str]

    @property
    def files(self) -> Path:
        """Where the collector writes."""
        return self.collector.directory / "files"

    def value(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series that have these labels; dots are underscores."""
        return sum(
            float(sample)
            for found, pairs, sample in SAMPLE.findall(self.scraped())
            if found == name and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', pairs)).items()
        )

    def scraped(self) -> str:
        """What Prometheus would get."""
        accept = {"Accept": "application/openmetrics-text"}
        asked = urllib.request.Request(self.collector.prometheus, headers=accept)
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return answer.read().decode()

    def attempts(self) -> list[Span]:
        """The attempts that have arrived at the backend."""
        return [span for span in self.backend.spans() if span.kind == "CONSUMER"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Scene]:
    """Jobs that succeed, fail, are retried and killed, on both queues."""
    folder = tmp_path_factory.mktemp("local")
    with ExitStack() as stack:
        backend = Backend()
        stack.enter_context(backend)
        collector = stack.enter_context(
            running_collector(told_configs("local.yaml"), folder / "otelcol", env=backend.addresses())
        )
        backend.before = collector
        told, broker = told_worker_env("local.yaml"), redis_broker(redis_server)
        options = Options(env={**told, **QUICK}, client_env=told)
        workers = {
            "celery": CeleryHarness(broker, backend, folder, pool="prefork", options=options),
            "rq": RQHarness(broker, backend, folder, pool="fork", options=options),
        }
        for worker in workers.values():
            stack.callback(worker.stop)
            worker.launch()
        for worker in workers.values():
            _ = worker.client
            assert worker.worker is not None
            worker.worker.wait_for_line(worker.ready_line(), 60)
        ids = {f"celery {case}": workers["celery"].publish(case).id for case in CELERY_CASES}
        ids |= {f"rq {case}": workers["rq"].publish(case).id for case in RQ_CASES}
        yield Scene(collector, backend, workers, ids)


@pytest.mark.parametrize(
    ("room", "case", "outcomes"),
    [
        *[("celery", case, outcomes) for case, outcomes in CELERY_CASES.items()],
        *[("rq", case, outcomes) for case, outcomes in RQ_CASES.items()],
    ],
)
def test_a_job_s_spans_are_in_the_backend(scene: Scene, room: str, case: str, outcomes: list[str]) -> None:
    """Each attempt with its outcome, below the call that enqueued it."""
    job_id = scene.ids[f"{room} {case}"]
    attempts = scene.workers[room].wait_for_attempts(job_id, len(outcomes))

    assert [span.attributes["taskqueue.task.outcome"] for span in attempts] == outcomes
    first_sent = scene.workers[room].send_spans(job_id)[0]
    assert {span.parent_id for span in attempts} == {first_sent.span_id}


def test_metrics_count_every_attempt(scene: Scene) -> None:
    """The package's own, scraped from the prometheus exporter."""
    expected = Counter(("celery", outcome) for outcomes in CELERY_CASES.values() for outcome in outcomes)
    expected += Counter(("rq", outcome) for outcomes in RQ_CASES.values() for outcome in outcomes)

    def counted() -> Counter[tuple[str, str]]:
        return Counter(
            {
                (room, outcome): int(
                    scene.value(
                        "taskqueue_task_runs_total",
                        taskqueue_system=room,
                        taskqueue_task_outcome=outcome,
                    )
                )
                for room, outcome in expected
            }
        )

    wait_for(lambda: counted() == expected, 20, str(expected), counted)
    assert scene.value("taskqueue_worker_up") == len(scene.workers)


def test_span_metrics_count_every_attempt_with_its_outcome(scene: Scene) -> None:
    """Made by the collector from the spans."""
    expected = Counter(
        outcome for outcomes in (*CELERY_CASES.values(), *RQ_CASES.values()) for outcome in outcomes
    )

    def counted() -> Counter[str]:
        kind = "SPAN_KIND_CONSUMER"
        name = "traces_span_metrics_calls_total"
        return Counter(
            {
                outcome: int(scene.value(name, span_kind=kind, taskqueue_task_outcome=outcome))
                for outcome in expected
            }
        )

    wait_for(lambda: counted() == expected, 20, str(expected), counted)


def test_span_metrics_lead_to_a_trace(scene: Scene) -> None:
    """An exemplar stands beside a bucket until the next values are made."""
    job = scene.workers["rq"].publish("ok")
    (attempt,) = scene.workers["rq"].wait_for_attempts(job.id, 1)
    bucket = r"traces_span_metrics_duration_seconds_bucket\{.*" + f'# {{.*trace_id="{attempt.trace_id}"'
    wait_for(
        lambda: re.search(bucket, scene.scraped()), 15, f"an exemplar of {attempt.trace_id}", scene.scraped
    )


@pytest.mark.parametrize("room", ["celery", "rq"])
def test_the_service_graph_has_the_edge_from_client_to_worker(scene: Scene, room: str) -> None:
    """Who enqueues for whom, through which kind of connection."""
    worker = scene.workers[room]
    edge = {
        "client": worker.client_service,
        "server": worker.worker_service,
        "connection_type": "messaging_system",
    }
    jobs = CELERY_CASES if room == "celery" else RQ_CASES

    wait_for(
        lambda: scene.value("traces_service_graph_request_total", **edge) >= len(jobs),
        30,
        f"the edge {edge}",
        scene.scraped,
    )


def test_log_lines_are_in_the_file_with_their_trace(scene: Scene) -> None:
    """One JSON line for each export; the lines of a job have the ids of its attempt."""
    for room, job in (("celery", "celery write_logs"), ("rq", "rq write_logs")):
        job_id = scene.ids[job]
        (attempt,) = scene.workers[room].wait_for_attempts(job_id, 1)

        def records(job_id: str = job_id) -> list[dict[str, object]]:
            return [record for record in log_records(scene.files) if f"plain line of {job_id}" in str(record)]

        (line,) = wait_for(records, 15, f"the line of {job_id}")
        assert (line["traceId"], line["spanId"]) == (attempt.trace_id, attempt.span_id)


def test_the_file_has_the_spans_which_the_backend_has(scene: Scene) -> None:
    """The other way to look at a trace: `jq` and a text editor."""
    for span in scene.attempts():
        assert f'"spanId":"{span.span_id}"' in text_of(scene.files, "traces*.jsonl")


def test_everything_is_printed(scene: Scene) -> None:
    """A line for each span, record and metric."""
    printed = scene.collector.log()
    for job_id in (scene.ids["celery write_logs"], scene.ids["rq write_logs"]):
        assert f"plain line of {job_id}" in printed
        assert f"messaging.message.id={job_id}" in printed
    assert "taskqueue.task.runs" in printed


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_large_batch_is_taken(protocol: str, tmp_path: Path) -> None:
    """30 MB in one export, into the file."""
    with Backend() as backend:
        env = backend.addresses()
        with running_collector(told_configs("local.yaml"), tmp_path, env=env) as collector:
            ids = hex_ids(takes_the_largest_batch(collector, protocol))
            files = collector.directory / "files"
            written = lambda: re.findall(r'"spanId":"(\w+)"', text_of(files, "traces*.jsonl"))  # noqa: E731
            wait_for(lambda: ids == set(written()), 20, "all in the file")


def test_a_restart_keeps_the_files_and_nobody_has_to_listen(scene: Scene) -> None:
    """Without a Jaeger, and after a restart: logs still come, and what was in the files is still there."""
    scene.backend.stop()
    before = text_of(scene.files, "*.jsonl")
    scene.collector.stop()
    scene.collector.start()

    assert post_logs(scene.collector.http, ["after the restart"]) == 200
    wait_for(lambda: "after the restart" in text_of(scene.files, "logs*.jsonl"), 10, "the new line")
    assert all(line in text_of(scene.files, "*.jsonl") for line in before.splitlines())


def log_records(folder: Path) -> list[dict[str, object]]:
    """The records of all exports in the file."""
    return [
        record
        for line in text_of(folder, "logs*.jsonl").splitlines()
        for resource in json.loads(line)["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]
