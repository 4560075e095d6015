"""Exactly one process span for each attempt, whoever ends it and whatever arrives first."""

from __future__ import annotations

import threading
import time

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode

from otel_taskqueue import semconv
from otel_taskqueue.core import arbiter, attempts
from otel_taskqueue.core.failure import SUCCESS, Exit, Raised, Verdict
from otel_taskqueue.semconv import Outcome
from support.relay_worker import JOB, Worker

LOST = Verdict(Outcome.LOST, Raised("WorkerLostError", "gone"), exit=Exit(signal="SIGKILL"))


def only(spans: list[ReadableSpan]) -> ReadableSpan:
    """The one span there is."""
    assert len(spans) == 1, [span.name for span in spans]
    return spans[0]


def test_the_child_s_word_stands_when_the_library_agrees(worker: Worker) -> None:
    """Reported after it was ended: the span as the child ended it."""
    attempt, span = worker.begin()
    span.set_attribute(semconv.TASK_OUTCOME, "success")
    worker.end(attempt, span)
    arbiter.report(attempt, LOST)
    found = only(worker.finished())
    assert found.attributes[semconv.TASK_OUTCOME] == "success"
    assert found.context.span_id == span.get_span_context().span_id
    assert found.resource.attributes["service.name"] == "parent"
    assert attempts.unsettled() == []


def test_the_parent_overrules(worker: Worker) -> None:
    """A task that swallows the kill: the child says success, the parent the truth."""
    attempt, span = worker.begin()
    span.set_attribute(semconv.TASK_OUTCOME, "success")
    worker.end(attempt, span)
    arbiter.overrule(attempt, LOST)
    found = only(worker.finished())
    assert found.attributes[semconv.TASK_OUTCOME] == "lost"
    assert found.attributes[semconv.EXIT_SIGNAL] == "SIGKILL"
    assert found.status.status_code is StatusCode.ERROR
    assert [event.name for event in found.events] == ["exception"]
    assert found.start_time == span.start_time


def test_the_first_conclusion_stands(worker: Worker) -> None:
    """Celery reports a hard limit twice, and a loss after a revoke."""
    attempt, span = worker.begin()
    arbiter.overrule(attempt, Verdict(Outcome.REVOKED))
    arbiter.overrule(attempt, LOST)
    worker.end(attempt, span)
    arbiter.report(attempt, SUCCESS)
    assert only(worker.finished()).attributes[semconv.TASK_OUTCOME] == "revoked"


def test_a_child_that_died_unheard_gets_a_span_of_the_parent(worker: Worker) -> None:
    """No announcement came, and none will."""
    attempt = worker.open()
    arbiter.overrule(attempt, LOST, reaped=True)
    found = only(worker.finished())
    assert found.name == "process shop.pay"
    assert found.attributes[semconv.MESSAGING_MESSAGE_ID] == JOB.id


def test_a_verdict_waits_for_an_announcement_that_is_under_way(worker: Worker) -> None:
    """The child had just started: its span id is taken, spans below it keep their parent."""
    attempt = worker.open()
    arbiter.overrule(attempt, LOST)
    span = worker.provider.get_tracer("child").start_span("process shop.pay")
    worker.channel.announce(attempt.serial, span)
    found = only(worker.finished())
    assert found.context.span_id == span.get_span_context().span_id
    assert found.attributes[semconv.TASK_OUTCOME] == "lost"


def test_a_verdict_does_not_wait_for_ever(worker: Worker) -> None:
    """After a second without an announcement the parent makes a span of its own."""
    attempt = worker.open()
    arbiter.overrule(attempt, LOST)
    deadline = time.monotonic() + 5
    while not worker.exporter.get_finished_spans() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert only(list(worker.exporter.get_finished_spans()))
    worker.channel.announce(attempt.serial, worker.provider.get_tracer("late").start_span("late"))
    assert len(worker.finished()) == 1


def test_a_stop_does_not_wait_for_announcements(worker: Worker) -> None:
    """What is pending when the worker stops is written at once."""
    attempt = worker.open()
    arbiter.overrule(attempt, LOST)
    started = time.monotonic()
    assert only(worker.finished()).attributes[semconv.TASK_OUTCOME] == "lost"
    assert time.monotonic() - started < 0.5


def test_a_stop_concludes_what_runs_and_nothing_else(worker: Worker) -> None:
    """An attempt in flight is lost; a message that no process took goes back to the broker."""
    running, _ = worker.begin()
    waiting = worker.open()
    waiting.accepted = 0
    arbiter.conclude_all(Verdict(Outcome.LOST, description="stopped"))
    found = only(worker.finished())
    assert found.status.description == "stopped"
    assert running.done
    assert not waiting.done


def test_an_attempt_that_is_not_recorded_stays_unrecorded(worker: Worker) -> None:
    """Its child said so; a kill changes nothing."""
    attempt = worker.open()
    worker.channel.finished(attempt.serial, None)
    arbiter.overrule(attempt, LOST)
    assert worker.finished() == []


def test_a_local_attempt_is_written_by_its_own_block(worker: Worker) -> None:
    """Threads, gevent: the verdict is left for it."""
    attempt = worker.open()
    attempt.local = True
    arbiter.overrule(attempt, Verdict(Outcome.REVOKED))
    assert attempt.pending is not None
    assert worker.finished() == []


def test_a_signal_handler_may_read_while_the_lanes_are_read(worker: Worker) -> None:
    """Celery's cold shutdown cancels requests in one: no deadlock, no frame lost."""
    first, second = worker.begin()[0], worker.begin()[0]
    take = worker.reader._take
    reentered = []

    def interrupted(*frame: object) -> None:
        if not reentered:
            reentered.append(True)
            worker.reader.drain()
        take(*frame)

    worker.reader._take = interrupted
    reading = threading.Thread(target=worker.reader.drain, daemon=True)
    reading.start()
    reading.join(5)
    assert not reading.is_alive()
    assert reentered
    assert first.started
    assert second.started


class Marking(SpanProcessor):
    """An application's own processor."""

    def on_end(self, span: ReadableSpan) -> None:
        """Put a mark on it."""
        span._attributes = {**(span.attributes or {}), "marked": True}


def test_a_verdict_passes_the_application_s_own_processors(worker: Worker) -> None:
    """Before the SDK's own, wherever it stands in the list; the child's own word has passed it there."""
    pipeline = worker.reader.pipelines[0]
    worker.reader.pipelines[0] = pipeline._replace(own=(Marking(),))
    judged, _ = worker.begin()
    ended, span = worker.begin()
    arbiter.overrule(judged, LOST)
    worker.end(ended, span)
    arbiter.report(ended, SUCCESS)
    marks = {found.attributes.get("marked") for found in worker.finished()}
    assert marks == {True, None}
