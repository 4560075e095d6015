"""With the Redis and pika instrumentations active: only what the user's code does makes their spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from otel_taskqueue import semconv
from support.audit import audit
from support.celery_lab import OURS, CeleryLab, running_lab
from support.harness import rabbit_broker, redis_broker
from support.otlp import Span
from support.otlp.tree import draw
from support.servers import RabbitServer, RedisServer
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("celery-quiet")
APP = "support.apps.celery_app"
POOLS = ("prefork", "threads", "gevent", "eventlet")


def calls(server: RedisServer) -> Callable[[str], int]:
    """How often a command reached the server."""
    client = redis.Redis.from_url(server.url())

    def count(command: str) -> int:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))

    return count


def wait_for_some_idle_work(server: RedisServer) -> None:
    """Until the worker has polled a few times and sent a heartbeat, all for itself."""
    count = calls(server)
    polls, beats = count("brpop"), count("publish")
    wait_for(
        lambda: count("brpop") >= polls + 2 and count("publish") >= beats + 1, 20, "polls and a heartbeat"
    )


@pytest.fixture(scope="module", params=POOLS)
def quiet(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryLab]:
    """One worker after the other, broker and results in Redis."""
    directory = tmp_path_factory.mktemp("quiet")
    with running_lab(redis_broker(redis_server), directory, request.param) as lab:
        yield lab


def of_redis(lab: CeleryLab) -> list[Span]:
    """Every span of the Redis instrumentation in the worker."""
    return [
        span
        for span in lab.receiver.spans()
        if span.scope.endswith("redis") and span.service == lab.worker_service
    ]


def test_only_the_task_s_own_redis_calls_make_spans(quiet: CeleryLab, redis_server: RedisServer) -> None:
    """Among successes, failures, retries, a chord, a revoked job, and the worker's own life."""
    own = [quiet.enqueue("redis_call") for _ in range(2)]
    failed, retried = quiet.enqueue("fail"), quiet.enqueue("retry_twice")
    body = quiet.client.call("canvas", "chord").result["body"]
    revoked = quiet.enqueue("ok", countdown=0.5)
    quiet.cancel(revoked.id)
    wait_for_some_idle_work(redis_server)
    runs = [quiet.process_span(job.id) for job in own]
    for job_id in (failed.id, body, revoked.id):
        quiet.process_span(job_id)
    quiet.process_spans_of(retried.id, 3)
    quiet.fence()
    found = of_redis(quiet)
    assert {span.parent_id for span in found} == {run.span_id for run in runs}, draw(found)
    assert {span.name for span in found if span.name != "CLIENT"} == {"SET"}, draw(found)
    assert len(found) == 2, draw(found)


def test_sending_makes_no_span_of_the_broker_s_client(quiet: CeleryLab) -> None:
    """In the client: of the messages and of a chord's bookkeeping there is nothing but our spans."""
    job = quiet.enqueue("ok", request=None)
    send = quiet.send_span(job.id)
    quiet.process_span(job.id)
    assert {span.scope for span in quiet.wait_for_whole_trace(send.trace_id)} == {OURS}


def test_the_stop_makes_no_spans_either(quiet: CeleryLab) -> None:
    """Unsubscribing, the last heartbeat, messages that go back."""
    before = of_redis(quiet)
    audit(quiet, quiet.stop_worker())
    assert of_redis(quiet) == before
    quiet.wait_for_every_parent()


def test_the_task_s_own_pika_calls_are_kept(
    rabbit_server: RabbitServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On RabbitMQ Celery has a client of its own; what the task does by pika is the user's."""
    broker = rabbit_broker(rabbit_server, redis_server)
    with running_lab(broker, tmp_path_factory.mktemp("pika")) as lab:
        job = lab.enqueue("own_pika_call", rabbit_server.url().removesuffix("/") + "%2F", "own-queue")
        run = lab.process_span(job.id)
        assert run.attributes[semconv.TASK_OUTCOME] == "success", lab.explain(job.id)
        spans = lab.wait_for_whole_trace(job.reply.trace_id)
        pika = [span for span in spans if "pika" in span.scope]
        # Its instrumentation makes two spans of one publish, the second below the first.
        assert pika[0].parent_id == run.span_id, draw(spans)
        assert {span.name for span in pika} == {"own-queue send"}
        lab.fence()
        assert of_redis(lab) == []
