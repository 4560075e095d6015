"""Each line about an RQ job is shipped once, with the job's ids; the console stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue

from support.channels import read_lines
from support.client import Client
from support.logs_lab import ATTEMPT, AUTO, MESSAGE_ID, SDK, SECRET, Case, chatting, printed, speaking
from support.rq_lab import since
from support.servers import RedisServer
from support.shipped import JobLines, Matrix

pytestmark = pytest.mark.xdist_group("logs-rq")
TASK = "support.apps.logs_rq"
KINDS = ("root", "module", "worker", "library", "extra")
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
def matrix() -> Iterator[Matrix]:
    """Written at the end to where the variable says."""
    found = Matrix("RQ")
    yield found
    found.write()


@pytest.mark.parametrize(
    "case", [*CASES, pytest.param(SPAWN, marks=since(2, 3))], ids=lambda case: case.name.replace(" ", "-")
)
def test_each_line_is_shipped_once_with_the_ids_of_its_attempt(
    case: Case, logs_client: Client, matrix: Matrix, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Whoever logs it, however logging is configured; and the console is that of a bare worker."""
    compared = case in CONSOLES
    with chatting(case, logs_client, redis_server, tmp_path, compared=compared) as (speaker, bare, job_id):
        lines = JobLines(speaker, job_id, matrix)
        taken = lines.of_the_parent("queue: call (id)", f"{TASK}.chat(…) ({job_id})")
        wrong = [*_lines_of_the_job(lines), *taken]
        assert wrong == [], speaker.console()[-5000:]
        assert [line for line in speaker.receiver.logs() if "-" in line.attributes.values()] == []
        assert speaker.sent(SECRET) == []
    if bare is not None:
        assert printed(speaker) == printed(bare)


def test_lines_about_attempts_that_others_end_name_them(
    logs_client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Killed and stopped: the parent's lines carry ids, and the attempt's trace."""
    with speaking(Case("ends", "rq", "fork"), logs_client, redis_server, tmp_path) as speaker:
        killed = speaker.enqueue("kill_self")
        lost = speaker.wait_for_shipped("Work-horse terminated unexpectedly")
        stopped = speaker.enqueue("stay")
        speaker.wait_for_shipped("staying")
        assert logs_client.call("stop", stopped, request=None).error is None
        halted = speaker.wait_for_shipped("stopped by user")
        speaker.stop()
        for line, job_id in ((lost, killed), (halted, stopped)):
            span = speaker.attempt(job_id, 1)
            assert line.attributes[MESSAGE_ID] == job_id, line
            assert (line.attributes[ATTEMPT], line.trace_id, line.span_id) == (1, span.trace_id, span.span_id)
        assert speaker.categories(lost) == ("killed", "killed")
        assert speaker.categories(halted) == (None, None)


def test_the_line_about_an_end_names_the_kind_of_failure_that_the_span_has(
    logs_client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """A failure, one that is tried again, and one by the time limit."""
    with speaking(Case("kinds", "rq", "fork"), logs_client, redis_server, tmp_path) as speaker:
        ended = [
            (speaker.enqueue("leak"), "data"),
            (speaker.enqueue("leak", retries=1), "data"),
            (speaker.enqueue("stay", job_timeout=1), "timeout"),
        ]
        told = [speaker.wait_for_shipped("exception raised while", job_id) for job_id, _ in ended]
        speaker.stop()
        assert [speaker.categories(line) for line in told] == [(category,) * 2 for _, category in ended]


def test_fields_stand_in_any_format_and_in_every_line(
    logs_client: Client, redis_server: RedisServer, tmp_path: Path
) -> None:
    """`%(messaging.message.id)s` in `--log-format`: `-` outside of an attempt."""
    shape = "%(messaging.message.id)s|%(taskqueue.task.attempt)s|%(message)s"
    case = Case("format", "rq", "fork", arguments=("--log-format", shape))
    with speaking(case, logs_client, redis_server, tmp_path) as speaker:
        job_id = speaker.chat()
        console = speaker.console()
    assert f"-|-|*** Listening on {speaker.queue}" in console
    assert f"{job_id}|2|worker line of {job_id} attempt 2" in console
    taken = f"{speaker.queue}: {TASK}.chat("
    assert [line for line in console.splitlines() if line.startswith(f"{job_id}|1|") and taken in line]
    assert "Logging error" not in console


def test_no_secret_leaves_the_worker(logs_client: Client, redis_server: RedisServer, tmp_path: Path) -> None:
    """In arguments, in an exception's text and its cause's, in a retry's reason, in the broker's URL."""
    env = {
        "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_PYTHON_TASKQUEUE_LOG_DIR": str(tmp_path / "lines"),
    }
    case = Case("secrets", "rq", "fork", env=env, arguments=("--verbose",))
    with speaking(case, logs_client, redis_server, tmp_path) as speaker:
        job_id = speaker.enqueue("leak", SECRET, kwargs={"password": SECRET}, retries=1)
        speaker.enqueue("chat", SECRET, kwargs={"token": SECRET})
        speaker.enqueue("chat", SECRET, kwargs={"token": SECRET}, retries=1)
        # By a sender without us, of a module whose name is no identifier.
        Queue(speaker.queue, connection=Redis.from_url(redis_server.url())).enqueue("my-tasks.pay", SECRET)
        speaker.wait_for_shipped("my-tasks.pay(…)")
        speaker.wait_for_shipped("esult is kept")
        speaker.stop()
        written = repr(read_lines(tmp_path / "lines"))
        assert "my-tasks.pay(…)" in written
        assert SECRET not in written
        assert redis_server.password not in written
        assert SECRET in speaker.console()
        assert speaker.sent(SECRET) == []
        assert speaker.sent(redis_server.password) == []
        last = speaker.attempt(job_id, 2)
        assert last.status_message == "cannot log in with [redacted]"
        logs = speaker.receiver.logs()
        assert len([line for line in logs if line.event_name == "messaging.process.exception"]) == 3
        told = [str(line.body) for line in speaker.lines("exception raised")]
        assert any("[redacted]" in body for body in told if job_id in body)


def _lines_of_the_job(lines: JobLines) -> Iterator[str]:
    yield from lines.of_the_job(KINDS)
    for kind, attempt in (("exception raised", 1), ("Job OK", 2), ("result is kept", 2)):
        text = kind.removeprefix("r")  # RQ has written it with a capital letter
        yield from lines.of_attempt(kind, attempt, lines.speaker.lines(text))
