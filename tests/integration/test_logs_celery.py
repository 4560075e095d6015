"""Each line about a Celery job is shipped once, with the job's ids; the console stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.client import Client
from support.logs_lab import ATTEMPT, MESSAGE_ID, Case, Matrix, Speaker, printed, running_client, speaking
from support.otlp.model import LogLine
from support.servers import RedisServer

pytestmark = pytest.mark.xdist_group("logs-celery")
TASK = "support.apps.logs_celery"
SECRET = "TOPSECRET"
KINDS = ("root", "module", "task", "other", "library", "extra", "printed")
AUTO = "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION"
SDK = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"
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


@pytest.fixture(scope="module")
def client(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One client for all workers."""
    with running_client(redis_server, tmp_path_factory.mktemp("client")) as found:
        yield found


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """Written at the end to where the variable says."""
    found = Matrix("Celery")
    yield found
    found.write()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_each_line_is_shipped_once_with_the_ids_of_its_attempt(
    case: Case, client: Client, matrix: Matrix, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Whoever logs it, however logging is configured; and the console is that of a bare worker."""
    compared = case in CONSOLES
    bare = Speaker(case.bare, client, redis_server, tmp_path / "bare") if compared else None
    with Speaker(case, client, redis_server, tmp_path) as speaker:
        if bare is not None:
            with bare:
                bare.ready().chat()
        job_id = speaker.ready().chat()
        wrong = list(_lines_of_the_job(speaker, job_id, matrix))
        if "in_child" not in case.setup:
            wrong += _lines_of_the_parent(speaker, job_id, matrix)
        assert wrong == [], speaker.console()[-5000:]
        assert _absent_values(speaker) == []
        assert SECRET not in repr([*speaker.receiver.logs(), *speaker.receiver.spans()])
    if bare is not None:
        assert printed(speaker) == printed(bare)


def test_lines_about_attempts_that_others_end_name_them(
    client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Killed, out of time, revoked, unknown: the parent's lines carry ids, and the attempt's trace."""
    with speaking(Case("ends", "celery", "prefork"), client, redis_server, tmp_path) as speaker:
        killed = speaker.enqueue("kill_self")
        lost = speaker.wait_for_shipped("Task handler raised error: WorkerLostError")
        slow = speaker.enqueue("stay", soft_time_limit=1, time_limit=3)
        revoked = speaker.enqueue("chat")
        assert client.call("revoke", revoked, request=None).error is None
        soft = speaker.wait_for_shipped(f"Soft time limit (1s) exceeded for {TASK}.stay[{slow}]")
        hard = speaker.wait_for_shipped(f"Hard time limit (3s) exceeded for {TASK}.stay[{slow}]")
        discarded = speaker.wait_for_shipped(f"Discarding revoked task: {TASK}.chat[{revoked}]")
        speaker.stop()
        for line, job_id in ((lost, killed), (soft, slow), (hard, slow), (discarded, revoked)):
            span = speaker.attempt(job_id, 1)
            assert line.attributes[MESSAGE_ID] == job_id, line
            assert (line.attributes[ATTEMPT], line.trace_id) == (1, span.trace_id), line
            if line is not discarded:
                assert line.span_id == span.span_id, line
        assert lost.attributes["exception.type"] == "billiard.exceptions.WorkerLostError"
        assert lost.attributes["taskqueue.failure.category"] == "killed"


def test_fields_stand_in_any_format_and_in_every_line(
    client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """`%(messaging.message.id)s` in `worker_log_format`: `-` outside of an attempt."""
    with speaking(Case("format", "celery", "prefork", "format"), client, redis_server, tmp_path) as speaker:
        job_id = speaker.chat()
        console = speaker.console()
    assert f"-|-|{speaker.worker_name} ready." in console
    assert f"{job_id}|1|Task {TASK}.chat[{job_id}] received" in console
    assert f"{job_id}|2|root line of {job_id} attempt 2" in console
    assert f"{job_id}|2|task line of {job_id} attempt 2" in console
    assert f"mine|2|extra line of {job_id} attempt 2" in console
    assert "Logging error" not in console


def test_no_secret_leaves_the_worker(client: Client, redis_server: RedisServer, tmp_path: Path) -> None:
    """In arguments, in an exception's text and its cause's, in a retry's reason, in the broker's URL."""
    env = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup", "OTEL_METRICS_EXPORTER": "otlp"}
    case = Case("secrets", "celery", "prefork", env=env, arguments=("-l", "DEBUG"))
    with speaking(case, client, redis_server, tmp_path) as speaker:
        failed = speaker.enqueue("leak", SECRET, kwargs={"password": SECRET})
        again = speaker.enqueue("leak_again")
        speaker.enqueue("nobody_knows_me", SECRET, kwargs={"token": SECRET})
        speaker.wait_for_shipped("Received unregistered task")
        speaker.wait_for_shipped(f"{TASK}.leak[{failed}] raised unexpected")
        speaker.wait_for_shipped(f"{TASK}.leak_again[{again}] raised unexpected")
        speaker.stop()
        spans, logs = speaker.receiver.spans(), speaker.receiver.logs()
        events = [event for span in spans for event in span.events]
        assert SECRET in speaker.console()
        sent = [*spans, *logs, *speaker.receiver.metrics()]
        assert [item for item in sent if SECRET in repr(item)] == []
        assert [item for item in sent if redis_server.password in repr(item)] == []
        assert len([line for line in logs if line.event_name == "messaging.process.exception"]) == 3
        run = speaker.attempt(failed, 1)
        assert run.status_message == "cannot log in with [redacted]"
        assert {event.name for event in events} == {"exception", "taskqueue.retry"}
        assert "[redacted]" in str(speaker.lines(f"{TASK}.leak[{failed}] raised")[0].body)


def _lines_of_the_job(speaker: Speaker, job_id: str, matrix: Matrix) -> Iterator[str]:
    # Celery leaves stdout alone where the application sets logging up.
    for kind in KINDS[:-1] if "own_setup" in speaker.case.setup else KINDS:
        for attempt in (1, 2):
            text = f"{kind} line of {job_id} attempt {attempt}"
            found = [line for line in speaker.lines(text) if line.body == text]
            yield from _check(speaker, matrix, kind, job_id, attempt, found)
    for text, attempt in (("] retry:", 1), ("] succeeded in", 2)):
        kind = f"celery.app.trace: {text[1:].strip(' :')}"
        yield from _check(speaker, matrix, kind, job_id, attempt, speaker.lines(f"{job_id}{text}"))


def _lines_of_the_parent(speaker: Speaker, job_id: str, matrix: Matrix) -> Iterator[str]:
    for attempt in (1, 2):
        lines = [
            line for line in speaker.lines(f"{job_id}] received") if line.attributes.get(ATTEMPT) == attempt
        ]
        yield from _check(speaker, matrix, "received", job_id, attempt, lines, in_span=False)


def _check(
    speaker: Speaker,
    matrix: Matrix,
    kind: str,
    job_id: str,
    attempt: int,
    lines: list[LogLine],
    *,
    in_span: bool = True,
) -> Iterator[str]:
    span = speaker.attempt(job_id, attempt)
    mine = {
        MESSAGE_ID: "mine",
        "taskqueue.task.name": "mine",
        "taskqueue.worker.name": "mine",
        "job_id": "mine",
    }
    expected = {
        "messaging.system": "redis",
        "messaging.destination.name": speaker.queue,
        MESSAGE_ID: job_id,
        "taskqueue.system": "celery",
        "taskqueue.task.name": f"{TASK}.chat",
        ATTEMPT: attempt,
        "taskqueue.worker.name": speaker.worker_name,
        **(mine if kind == "extra" else {}),
    }
    ids = all(
        {key: line.attributes.get(key) for key in expected} == expected
        and line.trace_id == span.trace_id
        and (not in_span or line.span_id == span.span_id)
        for line in lines
    )
    matrix.add(speaker.case, kind, len(lines), ids=ids)
    if len(lines) != 1 or not ids:
        seen = [(line.attributes, line.trace_id == span.trace_id) for line in lines]
        yield f"{kind} {attempt}: {len(lines)} {seen}"


def _absent_values(speaker: Speaker) -> list[LogLine]:
    return [line for line in speaker.receiver.logs() if "-" in line.attributes.values()]
