"""dual.yaml over gateway.yaml, and replay.yaml: two channels that fail alone, and the way back."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.backends.otelcol import Collector, running_collector
from support.collected import CollectedHarness, options
from support.collecting import (
    Backend,
    hex_ids,
    post_logs,
    post_spans,
    text_of,
    told_configs,
    told_worker_env,
)
from support.harness import redis_broker
from support.servers import RedisServer, free_port
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("collector-dual"), pytest.mark.timeout(180)]


@contextmanager
def dual(backend: Backend, folder: Path, **env: str) -> Iterator[Collector]:
    """The gateway with its second channel."""
    settings = {**backend.addresses(), "FILE_CHANNEL_ENDPOINT": f"127.0.0.1:{free_port()}", **env}
    with running_collector(told_configs("dual.yaml"), folder, env=settings) as collector:
        backend.before = collector
        yield collector


@contextmanager
def replay(backend: Backend, files: Path, folder: Path) -> Iterator[Collector]:
    """The files brought back."""
    env = {**backend.addresses(), "OTELCOL_FILE_DIR": str(files)}
    with running_collector(told_configs("replay.yaml"), folder, env=env) as collector:
        yield collector


def files_of(collector: Collector) -> Path:
    """Where the file channel writes."""
    return collector.directory / "files"


def span_ids(files: Path) -> set[str]:
    """Ids of all spans in the file channel."""
    return set(re.findall(r'"spanId":"([0-9a-f]{16})"', text_of(files, "traces*.jsonl")))


def line_bodies(files: Path) -> set[str]:
    """Texts of all log records in the file channel."""
    return set(re.findall(r'"body":\{"stringValue":"([^"]*)"\}', text_of(files, "logs*.jsonl")))


def arrived(backend: Backend) -> set[str]:
    """Ids of all spans that the backend has."""
    return {span.span_id for span in backend.spans()}


def test_what_an_outage_and_a_lost_queue_took_comes_back_from_the_files(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """Backend away, jobs run, the queue is lost: the file has every id, replay.yaml brings each once."""
    with Backend() as backend, dual(backend, tmp_path / "otelcol") as collector:
        broker, told = redis_broker(redis_server), told_worker_env("gateway.yaml")
        how = options(env=told, client_env=told)
        harness = CollectedHarness(broker, backend, tmp_path, pool="threads", options=how)
        with harness as worker:
            assert isinstance(worker, CollectedHarness)
            backend.stop()
            with worker.publishing(200) as published:
                jobs = published.result()
            wait_for(lambda: len(worker.told()) == len(jobs), 30, "all jobs have run", worker.told)
            told = worker.told()
            ids = {one.span_id for one in told} | {one.parent_id for one in told}
            lines = {f"line of {one.job_id}" for one in told}
            files = files_of(collector)
            wait_for(
                lambda: ids <= span_ids(files) and lines <= line_bodies(files), 30, "every id in the files"
            )

        collector.kill()
        shutil.rmtree(collector.directory / "queue")
        backend.start()
        collector.start()
        assert post_spans(collector.http, [1]) == 200
        wait_for(lambda: hex_ids([1]) <= arrived(backend), 20, "the live channel works again")
        assert not ids & arrived(backend), "the queue was lost, nobody else has them"

        with replay(backend, files, tmp_path / "replay"):
            seen = lambda: (len(ids - arrived(backend)), len(backend.logs()))  # noqa: E731
            wait_for(lambda: ids <= arrived(backend), 30, "every span is back", seen)
            wait_for(lambda: lines <= {line.body for line in backend.logs()}, 30, "every line is back", seen)
            counts = Counter(span.span_id for span in backend.spans())
            assert {counts[one] for one in ids} == {1}


def test_a_replayed_span_is_what_it_was(tmp_path: Path) -> None:
    """Ids, times, attributes, resource: nothing added, nothing changed; a second start repeats nothing."""
    with Backend() as backend, dual(backend, tmp_path / "otelcol") as collector:
        assert post_spans(collector.http, [1, 2], filling="some text") == 200
        assert post_logs(collector.http, ["a line"]) == 200
        wait_for(lambda: len(backend.spans()) == 2 and len(backend.logs()) == 1, 20, "the live channel")
        live_spans, live_logs = set(map(repr, backend.spans())), list(map(repr, backend.logs()))
        wait_for(lambda: len(span_ids(files_of(collector))) == 2, 20, "the file channel")
        wait_for(lambda: line_bodies(files_of(collector)), 20, "the file channel")
        backend.clear()

        with replay(backend, files_of(collector), tmp_path / "replay") as again:
            wait_for(lambda: len(backend.spans()) >= 2 and backend.logs(), 20, "the replay")
            assert set(map(repr, backend.spans())) == live_spans
            assert list(map(repr, backend.logs())) == live_logs
            again.stop()
            again.start()
            assert post_spans(collector.http, [3]) == 200
            wait_for(lambda: hex_ids([3]) <= arrived(backend), 20, "a span that came later")
            wait_for(
                lambda: Counter(span.span_id for span in backend.spans())[next(iter(hex_ids([3])))] == 2,
                20,
                "both",
            )
            assert Counter(span.span_id for span in backend.spans())[next(iter(hex_ids([1])))] == 1


def test_a_restart_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """Also after SIGKILL: what was written stays, what comes is appended."""
    with Backend() as backend, dual(backend, tmp_path / "otelcol") as collector:
        for number, end in enumerate((collector.stop, collector.kill, collector.stop), start=1):
            assert post_spans(collector.http, [number]) == 200
            wait_for(
                lambda n=number: hex_ids(range(1, n + 1)) <= span_ids(files_of(collector)), 20, "all so far"
            )
            end()
            collector.start()
        assert hex_ids(range(1, 4)) <= span_ids(files_of(collector))
        for line in text_of(files_of(collector), "traces*.jsonl").splitlines():
            json.loads(line)


def test_what_a_killed_collector_had_accepted_is_in_both_channels(tmp_path: Path) -> None:
    """SIGKILL at once after the answer: the two disk queues have it."""
    with Backend() as backend, dual(backend, tmp_path / "otelcol") as collector:
        assert post_spans(collector.http, range(1, 501)) == 200
        collector.kill()
        collector.start()
        wanted = hex_ids(range(1, 501))
        wait_for(lambda: wanted <= arrived(backend), 20, "the live channel", lambda: len(arrived(backend)))
        wait_for(lambda: wanted <= span_ids(files_of(collector)), 20, "the file channel")


def test_a_file_channel_that_cannot_write_does_not_hold_up_the_live_one(tmp_path: Path) -> None:
    """Its queue keeps what the disk did not take, and writes it later; the backend has everything once."""
    files = tmp_path / "channel"
    with Backend() as backend, dual(backend, tmp_path / "otelcol", OTELCOL_FILE_DIR=str(files)) as collector:
        files.rmdir()
        files.write_text("in the way")
        for number in range(1, 6):
            assert post_spans(collector.http, [number]) == 200
        wait_for(lambda: hex_ids(range(1, 6)) <= arrived(backend), 20, "the live channel")
        assert len(backend.spans()) == 5
        files.unlink()
        wait_for(lambda: hex_ids(range(1, 6)) <= span_ids(files), 30, "the file channel", collector.log)
        assert len(backend.spans()) == 5


def test_files_that_begin_alike_are_all_replayed(tmp_path: Path) -> None:
    """Rotated files start with the same resource: 4 kB of it, then lines longer than a megabyte."""
    files = tmp_path / "files"
    resource = {"service.name": "sender", **{f"k8s.label.{n}": "x" * 200 for n in range(20)}}
    with Backend() as backend, dual(backend, tmp_path / "otelcol", OTELCOL_FILE_DIR=str(files)) as collector:
        for part in range(3):
            ids = range(1 + part * 1000, 1001 + part * 1000)
            assert post_spans(collector.http, ids, filling="y" * 1500, resource=resource) == 200
            wait_for(lambda ids=ids: hex_ids(ids) <= span_ids(files), 20, "the file channel")
            (files / "traces.jsonl").rename(files / f"traces-{part}.jsonl")
            collector.stop()
            collector.start()
        assert max(map(len, text_of(files, "traces*.jsonl").splitlines())) > 1024 * 1024
        backend.clear()
        with replay(backend, files, tmp_path / "replay"):
            wanted = hex_ids(range(1, 3001))
            wait_for(lambda: wanted <= arrived(backend), 30, "all files", lambda: len(arrived(backend)))
