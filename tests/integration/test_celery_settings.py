"""What the settings change in a running worker."""

from __future__ import annotations

from collections.abc import Callable

from otel_taskqueue import semconv
from support.celery_harness import APP, CeleryHarness
from support.harness import Options
from support.otlp.tree import draw

StartCelery = Callable[..., CeleryHarness]
PREFIX = "OTEL_PYTHON_TASKQUEUE_"


def options(**settings: str) -> Options:
    """Settings for the worker and its client."""
    env = {f"{PREFIX}{name}": value for name, value in settings.items()}
    return Options(env=env, client_env=env)


def test_the_link_style_starts_a_trace_for_each_attempt(start_celery: StartCelery) -> None:
    """TRACE_STYLE=link: each attempt is a root, linked to its sender and to the attempt before."""
    worker = start_celery(options=options(TRACE_STYLE="link"))
    job = worker.publish("retry_with_countdown", 0.2)
    runs = worker.wait_for_attempts(job.id, 2)
    send = worker.send_spans(job.id)[0]
    assert [run.parent_id for run in runs] == ["", ""]
    assert len({run.trace_id for run in runs} | {send.trace_id}) == 3
    first, second = ({link.span_id for link in run.links} for run in runs)
    assert first == {send.span_id}
    assert second == {send.span_id, runs[0].span_id}


def test_an_excluded_task_has_no_span_and_hands_the_context_on(start_celery: StartCelery) -> None:
    """EXCLUDED_TASKS: what the task itself enqueues still belongs to the trace."""
    worker = start_celery(options=options(EXCLUDED_TASKS="*.nested_*"))
    job = worker.publish("nested_publish")
    inner = worker.receiver.wait_for_spans(
        lambda span: span.name == f"process {APP}.ok" and span.trace_id == job.reply.trace_id
    )
    assert len(inner) == 1
    spans = worker.wait_for_whole_trace(job.reply.trace_id)
    assert worker.receiver.job_spans(job.id) == []
    send = next(span for span in spans if span.name == f"send {APP}.ok")
    assert send.parent_id == job.reply.span_id, draw(spans)


def test_spans_can_be_named_after_the_queue(start_celery: StartCelery) -> None:
    """SPAN_NAMING=queue, as the conventions have it."""
    worker = start_celery(options=options(SPAN_NAMING="queue"))
    job = worker.publish("ok")
    run = worker.wait_for_attempts(job.id, 1)[0]
    assert run.name == f"process {worker.queue}"
    assert worker.send_spans(job.id)[0].name == f"send {worker.queue}"
    assert run.attributes[semconv.TASK_NAME] == f"{APP}.ok"


def test_arguments_stay_home_unless_asked_for(celery: CeleryHarness) -> None:
    """Nothing private by default."""
    job = celery.publish("ok", "my-private-argument")
    celery.wait_for_attempts(job.id, 1)
    celery.fence()
    assert [span for span in celery.receiver.spans() if "my-private-argument" in repr(span)] == []


def test_arguments_that_were_asked_for_are_bounded_and_redacted(start_celery: StartCelery) -> None:
    """CAPTURE_ARGUMENTS=true."""
    worker = start_celery(
        options=options(CAPTURE_ARGUMENTS="true", CAPTURE_ARGUMENTS_MAX_LENGTH="64")
    )
    job = worker.publish("ok", {"password": "hunter2", "order": 17, "text": "x" * 5000})
    run = worker.wait_for_attempts(job.id, 1)[0]
    for span in (run, worker.send_spans(job.id)[0]):
        text = span.attributes[semconv.TASK_ARGS]
        assert "order" in text
        assert "hunter2" not in repr(span)
        assert len(text) <= 64
    assert worker.notes(job.id, "ran")


def test_baggage_keys_appear_on_the_process_span(start_celery: StartCelery) -> None:
    """BAGGAGE_KEYS: the chosen keys, under their own names, and no other."""
    worker = start_celery(options=options(BAGGAGE_KEYS="tenant"))
    reply = worker.client.call("publish", "ok", baggage={"tenant": "acme", "session": "s1"})
    run = worker.wait_for_attempts(reply.job_id, 1)[0]
    assert run.attributes.get("tenant") == "acme"
    assert "session" not in run.attributes
