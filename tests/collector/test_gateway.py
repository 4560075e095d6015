"""gateway.yaml: what must not pass does not, whatever telemetry it is in; what must pass does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from otel_taskqueue import semconv
from support.backends.otelcol import running_collector
from support.collected import CollectedHarness, options
from support.collecting import (
    PROTOCOLS,
    Backend,
    hex_ids,
    post_logs,
    post_spans,
    takes_the_largest_batch,
    told_configs,
    told_worker_env,
)
from support.configurations import FOLDER, load
from support.harness import redis_broker
from support.otlp import LogLine, Receiver, Span
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("collector-gateway"), pytest.mark.timeout(180)]

SECRETS = {
    "contact": "bob.builder@mail.example.com",
    "password": "hunter2-and-3",
    "phrase": "correct horse battery",
    "url": "redis://shop:s3cr3t-of-url@db.example:6379/0",
    "header": "Authorization: Bearer abc.def-ghi",
}
# What must be gone of each; hosts and the words around may stay.
HIDDEN = (
    "bob.builder@mail",
    "mail.example.com",
    "hunter2",
    "horse",
    "battery",
    "s3cr3t-of-url",
    "abc.def-ghi",
)
# The package's own redaction is switched off, arguments are captured, DEBUG is shipped: the worst case.
CARELESS = {
    "OTEL_PYTHON_TASKQUEUE_CAPTURE_ARGUMENTS": "true",
    "OTEL_PYTHON_TASKQUEUE_REDACT_PATTERNS": "nothing-is-called-so",
}
Places = Mapping[str, str]


def places(spans: list[Span], logs: list[LogLine]) -> Places:
    """Everything that the attempt's span and the lines hold, by the place where it is."""
    (span,) = [span for span in spans if span.kind == "CONSUMER"]
    return {
        "span attributes": str(dict(span.attributes)),
        "span status": span.status_message,
        "exception message": "".join(str(event.attributes.get("exception.message")) for event in span.events),
        "exception stack trace": "".join(
            str(event.attributes.get("exception.stacktrace")) for event in span.events
        ),
        "send span": str([one for one in spans if one.kind == "PRODUCER"]),
        "log bodies": str([line.body for line in logs]),
        "log attributes": str([dict(line.attributes) for line in logs]),
    }


PLACES = (
    *("span attributes", "span status", "exception message", "exception stack trace", "send span"),
    *("log bodies", "log attributes"),
)


@pytest.fixture(scope="module")
def spilled(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[tuple[Receiver, Backend, CollectedHarness]]:
    """The same job twice: one worker sends to a receiver, the other through the gateway."""
    folder = tmp_path_factory.mktemp("gateway")
    levels = folder / "levels"
    levels.write_text("ship = DEBUG\n")
    careless = {**told_worker_env("gateway.yaml"), **CARELESS}
    env = {**careless, "OTEL_PYTHON_TASKQUEUE_LOG_LEVEL_FILE": str(levels)}
    with ExitStack() as stack:
        bare, backend = stack.enter_context(Receiver()), Backend()
        stack.enter_context(backend)
        backend.before = stack.enter_context(
            running_collector(told_configs("gateway.yaml"), folder / "otelcol", env=backend.addresses())
        )
        workers = [
            CollectedHarness(
                redis_broker(redis_server),
                to,
                folder,
                pool="solo",
                options=options(env=env, client_env=careless),
            )
            for to in (bare, backend)
        ]
        for worker in workers:
            stack.callback(worker.stop)
            worker.launch()
            _ = worker.client  # starts beside the worker
        for worker in workers:
            assert worker.worker is not None
            worker.worker.wait_for_line(worker.ready_line(), 60)
            reply = worker.client.call(
                "publish", "shop.spill", [], SECRETS, how="send_task", queue=worker.queue, timeout=60
            )
            worker.wait_for_attempts(reply.job_id, 1)
            wait_for(
                lambda to=worker.receiver: any("nested" in str(line.body) for line in to.logs()), 15, "logs"
            )
        yield bare, backend, workers[1]


@pytest.mark.parametrize("place", PLACES)
def test_without_the_gateway_secrets_are_there(
    spilled: tuple[Receiver, Backend, CollectedHarness], place: str
) -> None:
    """The job really spills in every place: else the next test would prove nothing."""
    bare, _, _ = spilled
    assert [word for word in HIDDEN if word in places(bare.spans(), bare.logs())[place]]


@pytest.mark.parametrize("place", PLACES)
def test_behind_the_gateway_no_secret_is_left(
    spilled: tuple[Receiver, Backend, CollectedHarness], place: str
) -> None:
    """Spans, events, status, log bodies and attributes: what is hidden is gone, what is around it stays."""
    _, backend, _ = spilled
    text = places(backend.spans(), backend.logs())[place]

    assert [word for word in HIDDEN if word in text] == []
    assert "****" in text or place == "send span"


def test_nothing_else_is_taken_away(spilled: tuple[Receiver, Backend, CollectedHarness]) -> None:
    """Arguments are gone as a whole; all other attributes are there, and harmless ones are untouched."""
    bare, backend, worker = spilled
    payloads = {semconv.TASK_ARGS, semconv.TASK_KWARGS}

    def attributes(receiver: Receiver) -> list[set[str]]:
        spans = sorted(receiver.spans(), key=lambda span: span.kind)
        return [set(span.attributes) for span in spans if span.kind in {"CONSUMER", "PRODUCER"}]

    assert [keys - payloads for keys in attributes(bare)] == attributes(backend)
    assert all(payloads <= keys for keys in attributes(bare))
    (span,) = [span for span in backend.spans() if span.kind == "CONSUMER"]
    assert span.attributes["taskqueue.worker.name"] == worker.worker_name
    assert span.attributes["taskqueue.task.name"] == "shop.spill"
    assert "order 42 paid by ****" in places(backend.spans(), backend.logs())["log bodies"]


def test_debug_lines_stay_local(spilled: tuple[Receiver, Backend, CollectedHarness]) -> None:
    """They were sent to the gateway; it passes INFO and above."""
    bare, backend, _ = spilled

    assert "a line for developers" in {line.body for line in bare.logs()}
    assert "DEBUG" in {line.severity for line in bare.logs()}
    assert {line.severity for line in backend.logs()} <= {"INFO", "WARN", "ERROR", "FATAL"}
    assert "answered" in {line.body for line in backend.logs()}


def test_the_status_is_searched_for_the_same_patterns() -> None:
    """They have to be written twice: the redaction processor does not look at the status."""
    processors = load(FOLDER / "gateway.yaml")["processors"]
    statements = processors["transform/payloads"]["trace_statements"]
    texts = [
        re.search(r'replace_pattern\(span\.status\.message, (".*"), "\*\*\*\*"\)', line)
        for line in statements
    ]

    assert [json.loads(found[1]) for found in texts if found] == processors["redaction"]["blocked_values"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_batch_that_is_too_large_for_the_backend_is_cut(protocol: str, tmp_path: Path) -> None:
    """30 MB in one export; the backend takes 4 MiB, as every gRPC server does unless told otherwise."""
    with Backend() as backend:
        env = backend.addresses()
        with running_collector(told_configs("gateway.yaml"), tmp_path, env=env) as collector:
            ids = hex_ids(takes_the_largest_batch(collector, protocol))
            arrived = lambda: {span.span_id for span in backend.spans()}  # noqa: E731
            wait_for(lambda: ids <= arrived(), 60, "the large batch", lambda: collector.log()[-2000:])


def test_a_batch_without_severity_passes(spilled: tuple[Receiver, Backend, CollectedHarness]) -> None:
    """A record that does not say how important it is is not taken for DEBUG."""
    _, backend, _ = spilled
    assert backend.before is not None
    assert post_logs(backend.before.http, ["nobody knows"], severity=0) == 200
    wait_for(lambda: "nobody knows" in {line.body for line in backend.logs()}, 10, "the line")


def test_beyond_its_memory_it_refuses_so_that_the_sender_repeats(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """503 is what an exporter repeats; nothing is taken that could not be kept."""
    with Backend() as backend:
        env = {**backend.addresses(), "OTELCOL_MEMORY_LIMIT_MIB": "1"}
        folder = tmp_path_factory.mktemp("limit")
        with running_collector(told_configs("gateway.yaml"), folder, env=env) as collector:
            wait_for(lambda: post_spans(collector.http, [1]) == 503, 10, "a refusal", collector.log)
            taken = len(backend.spans())
            assert post_spans(collector.http, [2]) == 503
            assert taken == len(backend.spans())


def test_a_full_queue_refuses_so_that_the_sender_repeats(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What was accepted arrives when the backend is back; what was not was answered 503."""
    with Backend() as backend:
        env = {**backend.addresses(), "OTELCOL_QUEUE_BYTES": "3000000"}
        with running_collector(
            told_configs("gateway.yaml"), tmp_path_factory.mktemp("full"), env=env
        ) as collector:
            backend.stop()
            batches = [range(1 + n * 100, 101 + n * 100) for n in range(12)]
            answers = [post_spans(collector.http, ids, filling="x" * 5000) for ids in batches]
            assert set(answers) == {200, 503}, answers
            backend.start()
            accepted = [ids for ids, answer in zip(batches, answers, strict=True) if answer == 200]
            wanted = set().union(*map(hex_ids, accepted))
            wait_for(
                lambda: wanted <= {span.span_id for span in backend.spans()},
                30,
                "what was accepted",
                collector.log,
            )
