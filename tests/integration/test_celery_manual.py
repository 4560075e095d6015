"""Set up by hand: providers that are not global, hooks, settings as keywords."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_taskqueue import semconv
from support.audit import audit
from support.celery_lab import CeleryLab, running_lab
from support.harness import redis_broker
from support.otlp.tree import draw
from support.servers import RedisServer

pytestmark = pytest.mark.xdist_group("celery-manual")
APP = "support.apps.celery_app"


@pytest.fixture(scope="module")
def manual(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryLab]:
    """A worker without `opentelemetry-instrument`; its application instruments by hand, and twice."""
    directory = tmp_path_factory.mktemp("manual")
    broker = redis_broker(redis_server)
    with running_lab(broker, directory, app="support.apps.celery_manual", instrumented=False) as lab:
        yield lab


def test_the_process_hook_sees_the_span_and_the_job(manual: CeleryLab) -> None:
    """Once per attempt, in the process that runs it."""
    job = manual.enqueue("ok")
    run = manual.process_span(job.id)
    assert run.attributes["hooked"] == f"process {APP}.ok {job.id} 1 {manual.worker_name}"
    assert run.attributes[semconv.PROCESS_PID] == manual.wait_for_note(job.id)["pid"]
    assert run.parent_id == manual.send_span(job.id).span_id


def test_a_hook_that_raises_harms_nothing(manual: CeleryLab) -> None:
    """Neither the sent message, nor the attempt, nor the spans; the log says what went wrong."""
    job = manual.enqueue("nested_publish")
    run = manual.process_span(job.id)
    inner = manual.receiver.wait_for_spans(lambda span: span.parent_id == run.span_id)
    assert [span.kind for span in inner] == ["PRODUCER"], draw(inner)
    assert inner[0].attributes["hooked"] == f"publish {APP}.ok {manual.queue}"
    assert (inner[0].status, inner[0].events) == ("UNSET", ())
    assert manual.process_span(str(inner[0].attributes[semconv.MESSAGING_MESSAGE_ID]))
    failed = manual.enqueue("fail")
    assert manual.process_span(failed.id).attributes[semconv.ERROR_TYPE] == "support.apps.errors.OrderError"
    assert manual.worker is not None
    manual.worker.wait_for_line(r"telemetry of hook failed, the application is not affected: LookupError")


def test_settings_are_taken_as_keywords_and_a_bad_one_is_one_warning(manual: CeleryLab) -> None:
    """A value nobody can use means the default."""
    reply = manual.client.call("enqueue", "ok", baggage={"tenant": "acme"})
    run = manual.process_span(reply.job_id)
    assert run.attributes["tenant"] == "acme"
    assert run.name == f"process {APP}.ok"
    assert manual.worker is not None
    assert manual.worker.output().count("span_naming='queue or so' is not usable") == 1


def test_a_killed_attempt_is_reported_by_the_given_provider(manual: CeleryLab) -> None:
    """The relay works for a provider that is not the global one; the hook marks that span, too."""
    job = manual.enqueue("kill_self")
    run = manual.process_span(job.id)
    assert (run.attributes[semconv.TASK_OUTCOME], run.service) == ("lost", manual.worker_service)
    assert run.attributes["hooked"].startswith(f"process {APP}.kill_self {job.id}")


def test_nothing_is_doubled_and_the_stop_is_clean(manual: CeleryLab) -> None:
    """`instrument()` was called twice."""
    jobs = [manual.enqueue(case) for case in ("ok", "fail", "kill_self")]
    for job in jobs:
        manual.process_span(job.id)
        manual.checked[job.id] = 1
    manual.fence()
    audit(manual, manual.stop_worker())
    manual.wait_for_every_parent()
