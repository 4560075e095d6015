"""What children measure is exported by the worker's parent, once and in one series set (D4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_taskqueue import meters, semconv
from support.measuring import ALONE, NEVER, OFTEN, ROOMS, Measuring
from support.otlp import Behaviour, Receiver
from support.otlp.series import INSTANCE, Series
from support.servers import RedisServer
from support.wait import wait_for

AT_ONCE = 0.1
#: Sooner than a forked worker begins to work.
ALWAYS = {"OTEL_METRIC_EXPORT_INTERVAL": "20"}
SENT = "messaging.client.sent.messages"
Start = Callable[..., Measuring]


@pytest.fixture(scope="module", params=list(ROOMS))
def worker(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Measuring]:
    """A worker for several tests, which exports five times a second."""
    with Receiver() as receiver:
        made = ROOMS[request.param](redis_server, receiver, tmp_path_factory.mktemp("worker"), env=OFTEN)
        with made.harness:
            yield made


@pytest.fixture
def start(redis_server: RedisServer, receiver: Receiver, tmp_path: Path) -> Iterator[Start]:
    """Start a worker for one test."""
    started: list[Measuring] = []

    def start(room: str, **options: Any) -> Measuring:
        made = ROOMS[room](redis_server, receiver, tmp_path, **options)
        started.append(made)
        made.harness.start()
        return made

    yield start
    for each in started:
        each.harness.stop()


def check_record(series: Series, times: int) -> None:
    """The sums of this many jobs of `measures.record`, from one process."""
    assert series.value("shop.orders", kind="card") == 3 * times
    assert series.value("shop.orders", kind="cash") == times
    assert series.value("shop.stock") == -times
    assert series.value("shop.number") == 7
    assert (series.count("shop.seconds"), series.sum("shop.seconds")) == (times, 1.5 * times)
    assert (series.count("shop.late"), series.sum("shop.late")) == (times, 15 * times)
    assert {point.bounds for point in series.last("shop.seconds")} == {(1.0, 2.0, 5.0)}
    assert {point.bounds for point in series.last("shop.late")} == {(10.0, 20.0)}
    assert len(series.instances) == 1, series.instances


@pytest.mark.parametrize(
    ("room", "count", "arguments"),
    [("celery", 300, ()), ("celery", 99, ("--max-tasks-per-child=3",)), ("rq", 60, ())],
    ids=["prefork", "recycled", "work-horses"],
)
def test_every_instrument_has_the_sum_of_all_jobs(
    start: Start, room: str, count: int, arguments: tuple[str, ...]
) -> None:
    """Counters, histograms and gauges, made before and after the fork; one series set; all at the stop."""
    measuring = start(room, arguments=arguments)
    measuring.run("record", count=count)
    check_record(measuring.stopped(), count)


def test_the_count_is_there_when_the_job_is_over(worker: Measuring) -> None:
    """Nobody waits for a child to end: the child lives, and nothing else comes."""
    for number in (1, 2, 3):
        worker.run("record")
        worker.wait_for(
            f"{number} orders", lambda seen, n=number: seen.value("shop.orders", kind="cash") == n
        )


def test_a_histogram_leads_to_the_span_it_was_measured_in(worker: Measuring) -> None:
    """The exemplar of a measurement in a child names the attempt's span."""
    (job_id,) = worker.run("record")
    (span,) = worker.harness.wait_for_attempts(job_id, 1)

    def exemplars(seen: Series) -> set[tuple[str, str]]:
        points = [point for point in seen.points if point.name == "shop.seconds"]
        return {(found.trace_id, found.span_id) for point in points for found in point.exemplars}

    worker.wait_for("the exemplar", lambda seen: (span.trace_id, span.span_id) in exemplars(seen))


def test_a_killed_job_loses_only_what_it_had_not_handed_over(worker: Measuring) -> None:
    """Three measurements, one more than a second later, one right before SIGKILL: four, at times five."""
    worker.run("record_and_die", end="failure")
    worker.run("record_for", 0.1)
    worker.wait_for("the next job", lambda seen: seen.value("shop.orders", kind="slow"))
    assert worker.series().value("shop.orders", kind="killed") in {4, 5}


def test_what_threads_and_forks_of_a_job_measure(worker: Measuring) -> None:
    """Four threads of a job, and a process that it forks and that ends without a word."""
    worker.run("record_everywhere")
    worker.wait_for("all threads", lambda seen: seen.value("shop.orders", kind="thread") == 200)
    worker.wait_for("the grandchild", lambda seen: seen.value("shop.orders", kind="grandchild") == 1)


def test_the_publish_of_a_job_is_counted(worker: Measuring) -> None:
    """A nested enqueue: our own metrics take the same way."""
    worker.run("publish")
    worker.wait_for("one message", lambda seen: seen.value(SENT) == 1)
    assert worker.series().count("messaging.client.operation.duration") == 1


def test_nothing_inherited_is_exported(worker: Measuring) -> None:
    """A job of many export intervals, the last one here: what the parent counted is its own, and one."""
    worker.run("record_for", 1.5)
    series = worker.stopped()
    assert series.value("shop.inherited") == 5
    assert len(series.instances) == 1
    assert (series.value("shop.orders", kind="slow") or 0) > 8


@pytest.mark.parametrize("room", list(ROOMS))
def test_an_sdk_for_metrics_alone_is_enough(start: Start, room: str) -> None:
    """Without a tracer provider: what children measure arrives, and their attempts are counted."""
    measuring = start(room, app=ALONE[room], instrumented=False)
    measuring.run("record", count=6)
    measuring.run("record_and_die", end="failure")
    series = measuring.stopped()
    assert series.value("shop.orders", kind="cash") == 6
    assert series.by(meters.RUNS.name, semconv.TASK_OUTCOME) == {"success": 6, "lost": 1}
    assert series.count(meters.CPU_TIME.name) >= 6
    assert all(span.kind != "CONSUMER" for span in measuring.harness.receiver.spans())


def test_without_a_relay_children_are_silent(start: Start) -> None:
    """What they measure is lost, as documented; what the parent counted is exported by it alone."""
    measuring = start("rq", env={**OFTEN, "OTEL_PYTHON_TASKQUEUE_RELAY": "false"})
    measuring.run("record_for", 1)
    series = measuring.stopped()
    assert series.value("shop.inherited") == 5
    assert series.value("shop.orders") is None
    assert len(series.instances) == 1


@pytest.mark.parametrize(
    ("room", "arguments"), [("celery", ("--max-tasks-per-child=1",)), ("rq", ())], ids=["celery", "rq"]
)
def test_forks_while_the_parent_exports(
    start: Start, receiver: Receiver, room: str, arguments: tuple[str, ...]
) -> None:
    """A slow collector: the parent exports nearly all the time, and every child flushes at once."""
    receiver.behave(Behaviour.HEALTHY, latency=0.3)
    measuring = start(room, env=ALWAYS, arguments=arguments)
    for job_id in measuring.run("flush", count=20):
        (noted,) = measuring.harness.notes(job_id, "flushed")
        assert noted["seconds"] < AT_ONCE, noted
        assert noted["flushed"] is True
    series = measuring.stopped()
    assert series.value("shop.orders", kind="card") == 20
    assert len(series.instances) == 1


def test_embedded_beat_has_series_of_its_own(start: Start, tmp_path: Path) -> None:
    """What beat sends is counted by beat, up to its end; what it inherited is not exported again."""
    schedule = {"tick": {"task": "measures.record", "schedule": 0.5}}
    arguments = ("-B", "-s", str(tmp_path / "schedule"))
    measuring = start("celery", env=NEVER, conf={"beat_schedule": schedule}, arguments=arguments)
    output = measuring.harness.worker.output
    wait_for(lambda: output().count("succeeded in") >= 3, 30, "three ticks", output)
    series = measuring.stopped()
    (beat,) = {point.resource.attributes[INSTANCE] for point in series.last(SENT)}
    assert len(series.instances) == 2
    assert (series.value(SENT) or 0) >= 3
    of_beat = {point.name for point in series.points if point.resource.attributes[INSTANCE] == beat}
    assert of_beat == {SENT, "messaging.client.operation.duration"}


def test_the_workers_of_a_pool_have_series_of_their_own(start: Start) -> None:
    """`rq worker-pool`: the pool's process and two workers, each with what it measured itself."""
    measuring = start("rq", pool="worker-pool", env=ALWAYS)
    measuring.run("record", count=12)
    measuring.wait_for("all orders", lambda seen: seen.value("shop.orders", kind="cash") == 12)
    series = measuring.stopped()
    assert [point.value for point in series.last("shop.inherited")] == [5]
    assert series.value("shop.orders", kind="card") == 36
    assert len(series.instances) == 3
