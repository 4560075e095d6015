"""Each line about a Celery job is shipped once, with the job's ids; the console stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.channels import read_lines
from support.client import Client
from support.logs_lab import (
    ATTEMPT,
    AUTO,
    MESSAGE_ID,
    SDK,
    SECRET,
    Case,
    chatting,
    leave_unrestorable,
    printed,
    speaking,
)
from support.servers import RedisServer
from support.shipped import JobLines, Matrix

pytestmark = pytest.mark.xdist_group("logs-celery")
TASK = "support.apps.logs_celery"
KINDS = ("root", "module", "task", "other", "library", "extra", "printed")
SWITCHES = {
    "OTEL_PYTHON_LOG_CORRELATION": "true",
    "OTEL_PYTHON_LOG_HANDLER_LEVEL": "info",
    "OTEL_PYTHON_LOG_CODE_ATTRIBUTES": "true",
}
CASES = (
    Case("opentelemetry-instrument", "celery", "prefork"),
    Case("hijack off", "celery", "prefork", "hijack_off"),
    Case("basicConfig before, hijack off", "celery", "prefork", "hijack_off basic_before"),
    Case("own setup_logging", "celery", "prefork", "own_setup"),
    Case("own setup_logging, celery cut off", "celery", "solo", "own_setup cut"),
    Case("basicConfig before and after", "celery", "solo", "basic_before basic_after"),
    Case("dictConfig in a task", "celery", "prefork", "dict_after"),
    Case("basicConfig(force) in a task", "celery", "threads", "force_after"),
    Case("threads", "celery", "threads"),
    Case("gevent", "celery", "gevent"),
    Case("contrib's handler switched off", "celery", "prefork", env={AUTO: "false"}),
    Case(
        "contrib's instrumentation absent",
        "celery",
        "solo",
        env={"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "logging"},
    ),
    Case("the SDK's handler", "celery", "prefork", env={SDK: "true"}),
    Case("correlation, level, code attributes", "celery", "prefork", env=SWITCHES),
    Case("by hand, three times", "celery", "prefork", "manual", auto=False),
    Case(
        "by hand, with contrib and own handlers",
        "celery",
        "prefork",
        "manual contrib own_handlers",
        auto=False,
    ),
    Case("by hand, given providers", "celery", "prefork", "manual given", auto=False),
    Case(
        "by hand, given providers, contrib without one", "celery", "solo", "manual given contrib", auto=False
    ),
    Case("SDK set up in the child", "celery", "prefork", "manual in_child", auto=False),
)
#: The ways to configure logging with which a worker's console is compared to a bare one's.
#: Not gevent's: it warns of the modules that the SDK has imported before the patching.
CONSOLES = (*CASES[:9], CASES[14])


#: Task, options -> what Celery says of its first attempt's end, and the kind of failure.
ENDS: tuple[tuple[str, dict[str, object], str, str], ...] = (
    ("leak", {}, "raised unexpected", "data"),
    ("leak_again", {}, "] retry:", "data"),
    ("refuse", {}, "raised expected", "data"),
    ("turn_down", {}, "] reject requeue=False", "data"),
    ("kill_self", {}, "Task handler raised error: WorkerLostError", "killed"),
    ("stay", {"time_limit": 2}, "Hard time limit (2s) exceeded", "timeout"),
    ("nobody_knows_me", {}, "Received unregistered task", "code"),
    ("chat", {"headers": {"eta": "never"}}, "Received invalid task message", "data"),
)


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """Written at the end to where the variable says."""
    found = Matrix("Celery")
    yield found
    found.write()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_each_line_is_shipped_once_with_the_ids_of_its_attempt(
    case: Case, logs_client: Client, matrix: Matrix, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Whoever logs it, however logging is configured; and the console is that of a bare worker."""
    compared = case in CONSOLES
    with chatting(case, logs_client, redis_server, tmp_path, compared=compared) as (speaker, bare, job_id):
        lines = JobLines(speaker, job_id, matrix)
        wrong = list(_lines_of_the_job(lines))
        if "in_child" not in case.setup:
            wrong += lines.of_the_parent("received", f"{job_id}] received")
        assert wrong == [], speaker.console()[-5000:]
        assert [line for line in speaker.receiver.logs() if "-" in line.attributes.values()] == []
        assert speaker.sent(SECRET) == []
    if bare is not None:
        assert printed(speaker) == printed(bare)


def test_lines_about_attempts_that_others_end_name_them(
    logs_client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Killed, out of time, revoked, unknown: the parent's lines carry ids, and the attempt's trace."""
    with speaking(Case("ends", "celery", "prefork"), logs_client, redis_server, tmp_path) as speaker:
        killed = speaker.enqueue("kill_self")
        lost = speaker.wait_for_shipped("Task handler raised error: WorkerLostError")
        slow = speaker.enqueue("stay", soft_time_limit=1, time_limit=3)
        revoked = speaker.enqueue("chat")
        assert logs_client.call("revoke", revoked, request=None).error is None
        soft = speaker.wait_for_shipped(f"Soft time limit (1s) exceeded for {TASK}.stay[{slow}]")
        hard = speaker.wait_for_shipped(f"Hard time limit (3s) exceeded for {TASK}.stay[{slow}]")
        discarded = speaker.wait_for_shipped(f"Discarding revoked task: {TASK}.chat[{revoked}]")
        stranger = speaker.enqueue("nobody_knows_me")
        unknown = speaker.wait_for_shipped("Received unregistered task")
        broken = speaker.enqueue("chat", headers={"eta": "never"})
        invalid = speaker.wait_for_shipped("Received invalid task message")
        speaker.stop()
        ran = ((lost, killed), (soft, slow), (hard, slow))
        for line, job_id in (*ran, (discarded, revoked), (unknown, stranger), (invalid, broken)):
            span = speaker.attempt(job_id, 1)
            assert line.attributes[MESSAGE_ID] == job_id, line
            assert (line.attributes[ATTEMPT], line.trace_id) == (1, span.trace_id), line
            assert line.span_id == (span.span_id if (line, job_id) in ran else span.parent_id), line
        assert lost.attributes["exception.type"] == "billiard.exceptions.WorkerLostError"


def test_the_line_about_an_end_names_the_kind_of_failure_that_the_span_has(
    logs_client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Whether Celery logs it with an exception, with another one or with none."""
    with speaking(Case("kinds", "celery", "prefork"), logs_client, redis_server, tmp_path) as speaker:
        ended = [(speaker.enqueue(task, **options), text) for task, options, text, _ in ENDS]
        told = [speaker.wait_for_shipped(text, job_id) for job_id, text in ended]
        revoked = speaker.enqueue("chat")
        assert logs_client.call("revoke", revoked, request=None).error is None
        told.append(speaker.wait_for_shipped("Discarding revoked task", revoked))
        speaker.stop()
        assert [speaker.categories(line) for line in told] == [
            *((category, category) for _, _, _, category in ENDS),
            (None, None),
        ]


def test_fields_stand_in_any_format_and_in_every_line(
    logs_client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """`%(messaging.message.id)s` in `worker_log_format`: `-` outside of an attempt."""
    case = Case("format", "celery", "prefork", "format")
    with speaking(case, logs_client, redis_server, tmp_path) as speaker:
        job_id = speaker.chat()
        console = speaker.console()
    assert f"-|-|{speaker.worker_name} ready." in console
    assert f"{job_id}|1|Task {TASK}.chat[{job_id}] received" in console
    assert f"{job_id}|2|root line of {job_id} attempt 2" in console
    assert f"{job_id}|2|task line of {job_id} attempt 2" in console
    assert f"mine|2|extra line of {job_id} attempt 2" in console
    assert "Logging error" not in console


def test_no_secret_leaves_the_worker(logs_client: Client, redis_server: RedisServer, tmp_path: Path) -> None:
    """In arguments, in an exception's text and its cause's, in a retry's reason, in the broker's URL."""
    env = {
        "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_PYTHON_TASKQUEUE_LOG_DIR": str(tmp_path / "lines"),
    }
    leave_unrestorable(redis_server)
    case = Case("secrets", "celery", "prefork", env=env, arguments=("-l", "DEBUG"))
    with speaking(case, logs_client, redis_server, tmp_path) as speaker:
        failed = speaker.enqueue("leak", SECRET, kwargs={"password": SECRET})
        again = speaker.enqueue("leak_again")
        speaker.enqueue("nobody_knows_me", SECRET, kwargs={"token": SECRET})
        speaker.wait_for_shipped("Received unregistered task")
        speaker.wait_for_shipped(f"{TASK}.leak[{failed}] raised unexpected")
        speaker.wait_for_shipped(f"{TASK}.leak_again[{again}] raised unexpected")
        speaker.wait_for_shipped("Could not restore message: '…'")
        speaker.stop()
        written = repr(read_lines(tmp_path / "lines"))
        assert "Could not restore message: '…'" in written.replace("\\", "")
        assert SECRET not in written
        assert redis_server.password not in written
        spans, logs = speaker.receiver.spans(), speaker.receiver.logs()
        events = [event for span in spans for event in span.events]
        assert SECRET in speaker.console()
        assert speaker.sent(SECRET) == []
        assert speaker.sent(redis_server.password) == []
        assert len([line for line in logs if line.event_name == "messaging.process.exception"]) == 3
        run = speaker.attempt(failed, 1)
        assert run.status_message == "cannot log in with [redacted]"
        assert {event.name for event in events} == {"exception", "taskqueue.retry"}
        assert "[redacted]" in str(speaker.lines(f"{TASK}.leak[{failed}] raised")[0].body)


def _lines_of_the_job(lines: JobLines) -> Iterator[str]:
    speaker, job_id = lines.speaker, lines.job_id
    # Celery leaves stdout alone where the application sets logging up.
    yield from lines.of_the_job(KINDS[:-1] if "own_setup" in speaker.case.setup else KINDS)
    for text, attempt in (("] retry:", 1), ("] succeeded in", 2)):
        kind = f"celery.app.trace: {text[1:].strip(' :')}"
        yield from lines.of_attempt(kind, attempt, speaker.lines(f"{job_id}{text}"))
