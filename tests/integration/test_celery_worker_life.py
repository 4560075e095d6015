"""A worker's children come and go, it stops, it is set up in unusual ways: each job is told.

That nothing finished is lost when a child is killed or recycled: test_delivery_ends.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from importlib.metadata import version

import pytest

from otel_taskqueue import semconv
from support import procfs
from support.celery_harness import CeleryHarness
from support.client import Client
from support.harness import Job, Options
from support.otlp import Receiver
from support.otlp.tree import assert_no_dangling_parents
from support.wait import wait_for

StartCelery = Callable[..., CeleryHarness]
#: Before 5.5 a cold stop names nothing that ends the tasks: the pool dies with the worker.
CANCELS = tuple(map(int, version("celery").split(".")[:2])) >= (5, 5)
LONG = 60.0  # a batch delay which no test outlives: what arrives was handed over


def publish_all(worker: CeleryHarness, case: str, count: int, *args: object) -> list[Job]:
    """Enqueue ``count`` jobs and wait until each has run."""
    jobs = [worker.publish(case, *args) for _ in range(count)]
    for job in jobs:
        finished = worker.client.call(
            "wait_for_state", job.id, ["SUCCESS", "FAILURE"], within=30.0, timeout=40, request=None
        )
        assert finished.result in {"SUCCESS", "FAILURE"}, worker.explain(job.id)
    return jobs


def outcomes(worker: CeleryHarness, jobs: list[Job]) -> list[list[str]]:
    """The outcomes of each job's attempts."""
    return [
        [str(span.attributes[semconv.TASK_OUTCOME]) for span in worker.process_spans(job.id)] for job in jobs
    ]


def test_a_task_in_flight_at_a_warm_stop_ends_and_is_told(start_celery: StartCelery) -> None:
    """TERM lets the task finish."""
    worker = start_celery(options=Options(batch_delay=LONG))
    job = worker.publish("sleep", 1.5)
    worker.wait_for_note(job.id)
    worker.stop_worker()
    assert worker.notes(job.id, "slept")
    assert outcomes(worker, [job]) == [["success"]]


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
@pytest.mark.parametrize("kind", ["cold", "soft"])
def test_a_task_in_flight_at_a_cold_stop_is_lost_and_told(
    start_celery: StartCelery, kind: str, broker: str
) -> None:
    """QUIT ends the task, at once or after the soft shutdown's patience."""
    conf = {"worker_soft_shutdown_timeout": 1.0} if kind == "soft" else {}
    worker = start_celery(broker=broker, options=Options(batch_delay=LONG, conf=conf))
    job = worker.publish("sleep", 30)
    worker.wait_for_note(job.id)
    assert worker.worker is not None
    stopped = worker.worker.stop(signal.SIGQUIT, timeout=20)
    assert not stopped.killed, worker.explain()
    assert outcomes(worker, [job]) == [["lost"]], worker.explain(job.id)
    (span,) = worker.process_spans(job.id)
    assert (span.status, span.attributes[semconv.PROCESS_PID]) == (
        "ERROR",
        worker.notes(job.id, "ran")[0]["pid"],
    )
    told = [span.attributes.get(key) for key in (semconv.ERROR_TYPE, semconv.EXIT_SIGNAL)]
    assert told == (["SIGTERM", "SIGTERM"] if CANCELS else ["lost", None])
    assert span.attributes[semconv.FAILURE_CATEGORY] == "killed"
    cancelled = "cancelled by Celery: the worker stopped, or lost its connection to the broker"
    assert span.status_message == (cancelled if CANCELS else "the worker stopped")


def test_a_restarted_pool_goes_on_being_told(start_celery: StartCelery) -> None:
    """pool_restart: the new children relay, too."""
    worker = start_celery(options=Options(conf={"worker_pool_restarts": True}))
    before = publish_all(worker, "ok", 1)
    reply = worker.client.call("pool_restart", worker.worker_name, request=None)
    assert reply.error is None
    old = worker.notes(before[0].id, "ran")[0]["pid"]
    wait_for(lambda: not procfs.is_alive(old), 20, "the old child has gone", worker.explain)
    after = publish_all(worker, "ok", 3)
    for job in after:
        worker.wait_for_attempts(job.id, 1)
    assert outcomes(worker, before + after) == [["success"]] * 4


def test_children_added_by_autoscale_are_told(start_celery: StartCelery) -> None:
    """Each span names the child that ran it."""
    worker = start_celery(options=Options(("--autoscale", "3,1"), concurrency=1))
    jobs = [worker.publish("sleep", 1.0) for _ in range(5)]
    for job in jobs:
        span = worker.wait_for_attempts(job.id, 1)[0]
        assert span.attributes[semconv.PROCESS_PID] == worker.notes(job.id, "ran")[0]["pid"]
    assert outcomes(worker, jobs) == [["success"]] * 5
    assert len({worker.notes(job.id, "ran")[0]["pid"] for job in jobs}) > 1


def test_a_detached_worker_is_told(
    start_celery: StartCelery, receiver: Receiver, celery: CeleryHarness
) -> None:
    """--detach starts the worker anew in the background."""
    directory = celery.directory / "detached"
    directory.mkdir()
    log, pidfile = directory / "worker.log", directory / "worker.pid"
    arguments = ("--detach", f"--logfile={log}", f"--pidfile={pidfile}")
    worker = CeleryHarness(
        celery.broker,
        receiver,
        directory,
        pool="prefork",
        options=Options(arguments, batch_delay=LONG),
    )
    try:
        started = worker.launch()
        wait_for(lambda: log.exists() and " ready." in log.read_text(), 30, "ready", started.tail)
        job = worker.publish("ok")
        worker.wait_for_note(job.id)
        pid = int(pidfile.read_text())
        assert pid in started.descendants()
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not procfs.is_alive(pid), 20, "the worker has stopped", log.read_text)
        worker.wait_for_attempts(job.id, 1)
        assert outcomes(worker, [job]) == [["success"]]
    finally:
        worker.stop()


def test_an_embedded_beat_s_messages_have_their_send_spans(start_celery: StartCelery) -> None:
    """-B: beat is a process that runs no jobs; its spans arrive although it is killed at the stop."""
    schedule = {"tick": {"task": "support.apps.celery_app.ok", "schedule": 0.4}}
    worker = start_celery(options=Options(("-B",), conf={"beat_schedule": schedule}, batch_delay=LONG))
    wait_for(lambda: len(list(worker.notes_directory.iterdir())) >= 3, 20, "three ticks", worker.explain)
    stopped = worker.stop_worker()
    assert not stopped.killed
    runs = [span for span in worker.receiver.spans() if span.kind == "CONSUMER"]
    sends = [span for span in worker.receiver.spans() if span.kind == "PRODUCER"]
    assert len(runs) >= 3
    assert_no_dangling_parents(worker.receiver.spans())
    assert {run.parent_id for run in runs} <= {send.span_id for send in sends}
    assert {send.parent_id for send in sends} == {""}


def test_a_set_up_in_worker_process_init_only_traces_every_task(start_celery: StartCelery) -> None:
    """As the documentation of OpenTelemetry tells; the spans arrive when the child ends."""
    options = Options(app="support.apps.celery_late", instrumented=False, batch_delay=LONG)
    worker = start_celery(options=options)
    jobs = publish_all(worker, "inner_spans", 5, 1)
    jobs += publish_all(worker, "fail", 1)
    stopped = worker.stop_worker()
    assert not stopped.killed
    assert outcomes(worker, jobs) == [["success"]] * 5 + [["failure"]], worker.explain()
    for job in jobs:
        run = worker.process_spans(job.id)[0]
        assert run.parent_id == worker.send_spans(job.id)[0].span_id
        assert run.attributes[semconv.PROCESS_PID] == worker.notes(job.id, "ran")[0]["pid"]
    assert_no_dangling_parents(worker.receiver.spans())


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_green_workers_run_their_tasks_at_once_and_stop_without_a_traceback(
    start_celery: StartCelery, pool: str, broker: str
) -> None:
    """Nothing of Celery is loaded and no thread runs before everything is patched."""
    worker = start_celery(pool, broker=broker, options=Options(batch_delay=LONG, concurrency=10))
    started = time.monotonic()
    jobs = publish_all(worker, "sleep", 3, 0.2)
    assert time.monotonic() - started < 10
    stopped = worker.stop_worker()
    assert (stopped.killed, stopped.returncode) == (False, 0)
    assert worker.worker is not None
    assert "Traceback" not in worker.worker.output().partition("Warm shutdown")[2]
    assert outcomes(worker, jobs) == [["success"]] * 3


def test_a_django_transaction_s_job_hangs_below_the_request(celery: CeleryHarness) -> None:
    """delay_on_commit sends when the transaction commits."""
    client = Client(
        "support.apps.django_client",
        {**celery.env(celery.client_service), "OTEL_BSP_SCHEDULE_DELAY": "50"},
        celery.directory / "django.log",
    )
    try:
        reply = client.call("publish_on_commit")
        celery.wait_for_attempts(reply.job_id, 1)
        send = celery.send_spans(reply.job_id)[0]
        assert (send.parent_id, send.trace_id) == (reply.span_id, reply.trace_id)
        assert celery.process_spans(reply.job_id)[0].parent_id == send.span_id
        celery.wait_for_whole_trace(reply.trace_id)
    finally:
        client.stop()
