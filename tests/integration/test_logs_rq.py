"""Each line about an RQ job is shipped once, with the job's ids; the console stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.client import Client
from support.logs_lab import ATTEMPT, MESSAGE_ID, Case, Matrix, Speaker, printed, running_client, speaking
from support.otlp.model import LogLine
from support.rq_lab import since
from support.servers import RedisServer

pytestmark = pytest.mark.xdist_group("logs-rq")
TASK = "support.apps.logs_rq"
SECRET = "TOPSECRET"
KINDS = ("root", "module", "worker", "library", "extra")
AUTO = "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION"
SDK = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"
SWITCHES = {"OTEL_PYTHON_LOG_HANDLER_LEVEL": "info", "OTEL_PYTHON_LOG_CODE_ATTRIBUTES": "true"}
CASES = (
    Case("opentelemetry-instrument", "rq", "fork"),
    Case("SimpleWorker", "rq", "simple"),
    Case("basicConfig in a task", "rq", "simple", "basic_after"),
    Case("dictConfig in a task", "rq", "fork", "dict_after"),
    Case("basicConfig(force) in a task", "rq", "simple", "force_after"),
    Case("contrib's handler switched off", "rq", "fork", env={AUTO: "false"}),
    Case(
        "contrib's instrumentation absent",
        "rq",
        "fork",
        env={"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "logging"},
    ),
    Case("the SDK's handler", "rq", "fork", env={SDK: "true"}),
    Case("level, code attributes", "rq", "fork", env=SWITCHES),
    Case("correlation", "rq", "fork", env={**SWITCHES, "OTEL_PYTHON_LOG_CORRELATION": "true"}),
    Case("by hand, three times", "rq", "fork", "manual", auto=False),
    Case("setup_loghandlers before, contrib", "rq", "fork", "manual contrib loghandlers_before", auto=False),
    Case("setup_loghandlers after, contrib", "rq", "simple", "manual contrib loghandlers_after", auto=False),
    Case("basicConfig before and after", "rq", "fork", "manual contrib basic_before basic_after", auto=False),
    Case("by hand, given providers", "rq", "fork", "manual given", auto=False),
)
#: Contrib's correlation configures the root itself: its console is the user's choice.
CONSOLES = (*CASES[:5], *CASES[10:14])
SPAWN = Case("SpawnWorker", "rq", "spawn")


@pytest.fixture(scope="module")
def client(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One client for all workers."""
    with running_client(redis_server, tmp_path_factory.mktemp("client")) as found:
        yield found


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """Written at the end to where the variable says."""
    found = Matrix("RQ")
    yield found
    found.write()


@pytest.mark.parametrize(
    "case", [*CASES, pytest.param(SPAWN, marks=since(2, 3))], ids=lambda case: case.name.replace(" ", "-")
)
def test_each_line_is_shipped_once_with_the_ids_of_its_attempt(
    case: Case, client: Client, matrix: Matrix, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Whoever logs it, however logging is configured; and the console is that of a bare worker."""
    bare = Speaker(case.bare, client, redis_server, tmp_path / "bare") if case in CONSOLES else None
    with Speaker(case, client, redis_server, tmp_path) as speaker:
        if bare is not None:
            with bare:
                bare.ready().chat()
        job_id = speaker.ready().chat()
        wrong = [*_lines_of_the_job(speaker, job_id, matrix), *_lines_of_the_parent(speaker, job_id, matrix)]
        assert wrong == [], speaker.console()[-5000:]
        assert [line for line in speaker.receiver.logs() if "-" in line.attributes.values()] == []
        assert SECRET not in repr([*speaker.receiver.logs(), *speaker.receiver.spans()])
    if bare is not None:
        assert printed(speaker) == printed(bare)


def test_lines_about_attempts_that_others_end_name_them(
    client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Killed and stopped: the parent's lines carry ids, and the attempt's trace."""
    with speaking(Case("ends", "rq", "fork"), client, redis_server, tmp_path) as speaker:
        killed = speaker.enqueue("kill_self")
        lost = speaker.wait_for_shipped("Work-horse terminated unexpectedly")
        stopped = speaker.enqueue("stay")
        speaker.wait_for_shipped("staying")
        assert client.call("stop", stopped, request=None).error is None
        halted = speaker.wait_for_shipped("stopped by user")
        speaker.stop()
        for line, job_id, category in ((lost, killed, "killed"), (halted, stopped, "cancelled")):
            span = speaker.attempt(job_id, 1)
            assert line.attributes[MESSAGE_ID] == job_id, line
            assert line.attributes["taskqueue.failure.category"] == category
            assert (line.attributes[ATTEMPT], line.trace_id, line.span_id) == (1, span.trace_id, span.span_id)


def test_fields_stand_in_any_format_and_in_every_line(
    client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """`%(messaging.message.id)s` in `--log-format`: `-` outside of an attempt."""
    shape = "%(messaging.message.id)s|%(taskqueue.task.attempt)s|%(message)s"
    case = Case("format", "rq", "fork", arguments=("--log-format", shape))
    with speaking(case, client, redis_server, tmp_path) as speaker:
        job_id = speaker.chat()
        console = speaker.console()
    assert f"-|-|*** Listening on {speaker.queue}" in console
    assert f"{job_id}|2|worker line of {job_id} attempt 2" in console
    taken = f"{speaker.queue}: {TASK}.chat("
    assert [line for line in console.splitlines() if line.startswith(f"{job_id}|1|") and taken in line]
    assert "Logging error" not in console


def test_no_secret_leaves_the_worker(client: Client, redis_server: RedisServer, tmp_path: Path) -> None:
    """In arguments, in an exception's text and its cause's, in a retry's reason, in the broker's URL."""
    env = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup", "OTEL_METRICS_EXPORTER": "otlp"}
    case = Case("secrets", "rq", "fork", env=env, arguments=("--verbose",))
    with speaking(case, client, redis_server, tmp_path) as speaker:
        job_id = speaker.enqueue("leak", SECRET, kwargs={"password": SECRET}, retries=1)
        speaker.enqueue("chat", SECRET, kwargs={"token": SECRET})
        speaker.enqueue("chat", SECRET, kwargs={"token": SECRET}, retries=1)
        speaker.wait_for_shipped("esult is kept")
        speaker.stop()
        assert SECRET in speaker.console()
        spans, logs = speaker.receiver.spans(), speaker.receiver.logs()
        sent = [*spans, *logs, *speaker.receiver.metrics()]
        assert [item for item in sent if SECRET in repr(item)] == []
        assert [item for item in sent if redis_server.password in repr(item)] == []
        last = speaker.attempt(job_id, 2)
        assert last.status_message == "cannot log in with [redacted]"
        assert len([line for line in logs if line.event_name == "messaging.process.exception"]) == 2
        told = [str(line.body) for line in speaker.lines("exception raised")]
        assert any("[redacted]" in body for body in told if job_id in body)


def _lines_of_the_job(speaker: Speaker, job_id: str, matrix: Matrix) -> Iterator[str]:
    for kind in KINDS:
        for attempt in (1, 2):
            text = f"{kind} line of {job_id} attempt {attempt}"
            found = [line for line in speaker.lines(text) if line.body == text]
            yield from _check(speaker, matrix, kind, job_id, attempt, found)
    for kind, attempt in (("exception raised", 1), ("Job OK", 2), ("result is kept", 2)):
        text = kind.removeprefix("r")  # RQ has written it with a capital letter
        yield from _check(speaker, matrix, kind, job_id, attempt, speaker.lines(text))


def _lines_of_the_parent(speaker: Speaker, job_id: str, matrix: Matrix) -> Iterator[str]:
    taken = speaker.lines(f"{TASK}.chat(…) ({job_id})")
    for attempt in (1, 2):
        found = [line for line in taken if line.attributes.get(ATTEMPT) == attempt]
        yield from _check(speaker, matrix, "queue: call (id)", job_id, attempt, found, in_span=False)


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
    mine = (MESSAGE_ID, "taskqueue.task.name", "taskqueue.worker.name", "job_id")
    expected = {
        "messaging.system": "redis",
        "messaging.destination.name": speaker.queue,
        MESSAGE_ID: job_id,
        "taskqueue.system": "rq",
        "taskqueue.task.name": f"{TASK}.chat",
        ATTEMPT: attempt,
        "taskqueue.worker.name": speaker.worker_name,
        **(dict.fromkeys(mine, "mine") if kind == "extra" else {}),
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
