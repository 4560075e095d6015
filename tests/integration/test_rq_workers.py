"""Every kind of RQ worker runs attempts that are told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from otel_taskqueue import semconv
from support.env import script
from support.harness import redis_broker
from support.process import RealProcess
from support.rq_lab import RQLab, running_lab, since
from support.servers import RedisServer
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("rq-workers")
NEVER = 60.0  # seconds: the SDK's batch is not sent by itself within a test


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Callable[..., RQLab]]:
    """Start a worker of a kind."""
    with ExitStack() as stack:
        yield lambda pool, **options: stack.enter_context(
            running_lab(redis_broker(redis_server), tmp_path, pool, **options)
        )


def check(rq: RQLab, case: str, outcome: str) -> None:
    """One job, one attempt, by the process that ran it."""
    job = rq.publish(case)
    (attempt,) = rq.exactly(job.id, 1)
    (note,) = rq.notes(job.id, "ran")
    assert attempt.attributes[semconv.TASK_OUTCOME] == outcome
    assert attempt.parent_id == rq.send_spans(job.id)[0].span_id
    assert (note["span_id"], note["pid"]) == (
        attempt.span_id,
        attempt.attributes[semconv.PROCESS_PID],
    )


KINDS = ["simple", pytest.param("spawn", marks=since(2, 3)), "heroku", "round robin", "calling", "replacing"]


@pytest.mark.parametrize("pool", KINDS)
def test_each_worker_class_tells_an_attempt_once(start: Callable[..., RQLab], pool: str) -> None:
    """Also subclasses of users which override what runs a job, with and without their base class."""
    rq = start(pool)
    check(rq, "ok", "success")
    check(rq, "fail", "failure")


def test_a_worker_with_the_json_serializer_tells_attempts_and_retries(start: Callable[..., RQLab]) -> None:
    """Carrier and task name are text: any serializer takes them."""
    rq = start("fork", arguments=("--serializer", "rq.serializers.JSONSerializer"))
    job = rq.publish("fail", how="json", retry={"max": 1})
    attempts = rq.exactly(job.id, 2)
    assert [span.attributes[semconv.TASK_OUTCOME] for span in attempts] == ["retry", "failure"]
    assert {span.parent_id for span in attempts} == {rq.send_spans(job.id)[0].span_id}
    assert {span.name for span in attempts} == {f"process {rq.task_name('fail')}"}


@since(2, 6)
def test_each_run_of_a_cron_process_is_a_trace_and_its_stop_loses_none(
    start: Callable[..., RQLab], tmp_path: Path
) -> None:
    """`rq cron` is stopped right after it has sent, long before its batch is due."""
    rq = start("fork", batch_delay=NEVER)
    schedule = tmp_path / "schedule.py"
    schedule.write_text(
        "from rq import cron\n"
        "from support.apps.rq_jobs import ok\n"
        f"cron.register(ok, queue_name={rq.queue!r}, interval=1)\n"
    )
    command = [
        script("opentelemetry-instrument"),
        script("rq"),
        "cron",
        str(schedule),
        "--url",
        rq.broker.url,
    ]
    with RealProcess("rq cron", command, env=rq.env("cron"), log=tmp_path / "cron.log") as cron:
        wait_for(lambda: len(list(rq.notes_directory.iterdir())) > 1, 30, "two runs", cron.tail)
        assert not cron.stop().killed
    rq.stop_worker()
    runs = [span for span in rq.receiver.spans() if span.kind == "CONSUMER"]
    sends = {span.span_id: span for span in rq.receiver.spans() if span.kind == "PRODUCER"}
    assert len(runs) > 1
    assert {sends[run.parent_id].parent_id for run in runs} == {""}
    assert len({run.trace_id for run in runs}) == len(runs)


def test_a_pool_of_workers_loses_nothing_at_its_stop(start: Callable[..., RQLab]) -> None:
    """Its workers end by os._exit: what they hold leaves before."""
    rq = start("worker-pool", batch_delay=NEVER)
    jobs = [rq.publish("inner_spans") for _ in range(6)]
    for job in jobs:
        rq.client.call("wait_for_state", job.id, ["finished"])
    stopped = rq.stop_worker()
    assert (stopped.returncode, stopped.killed) == (0, False)
    for job in jobs:
        (attempt,) = rq.process_spans(job.id)
        assert attempt.attributes[semconv.TASK_OUTCOME] == "success"
        inner = [span for span in rq.receiver.trace(attempt.trace_id) if span.name.startswith("step")]
        assert len(inner) == 3


def test_a_burst_worker_loses_nothing_at_its_end(redis_server: RedisServer, tmp_path: Path) -> None:
    """It ends by itself when the queue is empty."""
    with running_lab(redis_broker(redis_server), tmp_path, arguments=("--burst",), batch_delay=NEVER) as rq:
        assert rq.worker is not None
        rq.worker.wait(20)
        job = rq.publish("inner_spans")
        rq.launch().wait(20)
        (attempt,) = rq.process_spans(job.id)
        assert attempt.attributes[semconv.TASK_OUTCOME] == "success"


@pytest.mark.parametrize("pool", ["fork", pytest.param("spawn", marks=since(2, 3)), "simple"])
def test_with_nothing_to_do_a_worker_sends_nothing(start: Callable[..., RQLab], pool: str) -> None:
    """No span from polling, heartbeats, the scheduler, maintenance, and from what a work-horse looks up."""
    rq = start(pool)
    check(rq, "ok", "success")
    check(rq, "fail", "failure")
    job = rq.enqueue("enqueue_and_use_redis")
    rq.exactly(job.id, 1)
    rq.stop_worker()
    seen = Counter(span.name for span in rq.receiver.spans() if span.service == rq.worker_service)
    assert seen.pop("GET") == 1  # the job's own
    assert seen.pop(f"send {rq.task_name('ok')}") == 1
    told = {f"process {rq.task_name(case)}" for case in ("ok", "fail")}
    told.add("process support.apps.rq_lab.enqueue_and_use_redis")
    assert set(seen) == told, seen


@since(2, 3)
def test_what_a_job_starts_is_not_quiet(start: Callable[..., RQLab]) -> None:
    """A program of its own inherits the environment of the work-horse, and no more."""
    rq = start("spawn")
    job = rq.enqueue("start_a_program_that_uses_redis")
    rq.exactly(job.id, 1)
    seen = [span for span in rq.receiver.spans() if span.service == rq.worker_service and span.name == "SET"]
    assert len(seen) == 1, rq.explain(job.id)


@pytest.mark.parametrize(("case", "outcome"), [("ok", "success"), ("fail", "failure"), ("kill_self", "lost")])
def test_without_the_relay_each_work_horse_exports_by_itself(
    redis_server: RedisServer, tmp_path: Path, case: str, outcome: str
) -> None:
    """The bounded flush; the parent speaks for the one that was killed."""
    with running_lab(
        redis_broker(redis_server),
        tmp_path,
        batch_delay=NEVER,
        env={"OTEL_PYTHON_TASKQUEUE_RELAY": "false"},
    ) as rq:
        job = rq.publish(case)
        rq.client.call("wait_for_state", job.id, ["finished", "failed"])
        rq.stop_worker()
        (attempt,) = rq.process_spans(job.id)
        assert attempt.attributes[semconv.TASK_OUTCOME] == outcome
        assert attempt.parent_id == rq.send_spans(job.id)[0].span_id
