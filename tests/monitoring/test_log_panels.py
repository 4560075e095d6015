"""The four log panels find what they are for in lines of real workers; their twins name real fields."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from otel_taskqueue import semconv
from support import dashboards, logql
from support.client import Client
from support.env import base_env
from support.logql import Entry
from support.logs_lab import Case, Speaker, speaking
from support.servers import RedisServer

pytestmark = pytest.mark.xdist_group("log-panels")

PAGE = (dashboards.ROOT / "docs" / "log-panels.md").read_text()
PANELS = ("Error rate", "Slow jobs", "Lines of one job", "Last lines of a worker")
#: Fields of a log record in Elasticsearch beside its attributes.
OF_A_RECORD = {"@timestamp", "body.text", "severity_text", "severity_number", "trace_id", "span_id"}
ATTRIBUTES = {
    *(semconv.MESSAGING_SYSTEM, semconv.MESSAGING_DESTINATION_NAME, semconv.MESSAGING_MESSAGE_ID),
    *(semconv.SYSTEM, semconv.TASK_NAME, semconv.TASK_ATTEMPT, semconv.WORKER_NAME),
    *(semconv.FAILURE_CATEGORY, semconv.EXCEPTION_TYPE),
}
COMMANDS = ("FROM", "WHERE", "STATS", "SORT", "GROK", "EVAL", "KEEP", "LIMIT")


def blocks(panel: str, language: str) -> list[str]:
    """The queries of a panel on the page."""
    _, _, rest = PAGE.partition(f"\n## {panel}\n")
    section = re.split(r"\n## ", rest)[0]
    return [found.strip() for found in re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)]


class Lines:
    """What a worker of each library has said, as Loki holds it; the jobs by their case."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.jobs: dict[str, str] = {}
        self.workers: dict[str, str] = {}

    def hear(self, speaker: Speaker) -> None:
        """Let a worker run a job in two attempts and one that fails, and stop it."""
        room = speaker.case.room
        self.workers[room] = speaker.worker_name
        self.jobs[f"{room} leak"] = speaker.enqueue("leak")
        self.jobs[f"{room} chat"] = speaker.chat()
        self.entries += [logql.entry(line) for line in speaker.receiver.logs()]

    def select(self, query: str, **variables: str) -> list[Entry]:
        """What a query of the page finds."""
        return logql.select(logql.pipeline(dashboards.interpolate(query, **variables)), self.entries)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    """Everything that two real workers have shipped."""
    folder = tmp_path_factory.mktemp("lines")
    server = RedisServer(folder)
    env = base_env(
        TASKQUEUE_TEST_BROKER=server.url(), OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none"
    )
    client = Client("support.apps.logs_client", env, folder / "client.log")
    found = Lines()
    try:
        for case in (Case("celery", "celery", "prefork"), Case("rq", "rq", "fork")):
            with speaking(case, client, server, folder) as speaker:
                found.hear(speaker)
        yield found
    finally:
        client.stop()
        server.stop()


@pytest.mark.parametrize("panel", PANELS)
def test_the_page_has_what_the_dashboard_has(panel: str) -> None:
    """One and the same query in both."""
    board = dashboards.load()["taskqueue-logs"]
    (found,) = (each for each in dashboards.panels(board) if each["title"] == panel)
    assert blocks(panel, "logql") == [target["expr"] for target in found["targets"]]
    assert all(target["datasource"]["type"] == "loki" for target in found["targets"])


def test_the_error_rate_counts_a_failed_attempt(lines: Lines) -> None:
    """One line for a job that failed, and none of what is no error."""
    (query,) = blocks("Error rate", "logql")
    found = lines.select(query)
    for room in ("celery", "rq"):
        of_leak = [one for one in found if one.metadata["messaging_message_id"] == lines.jobs[f"{room} leak"]]
        assert len(of_leak) == 1, of_leak
    assert {"ERROR"} == {one.metadata["severity_text"] for one in found}
    assert lines.select(query, task="another") == []


def test_slow_jobs_are_found_by_what_both_libraries_print(lines: Lines) -> None:
    """Each success is longer than a millisecond and shorter than an hour."""
    for room, query in zip(("celery", "rq"), blocks("Slow jobs", "logql"), strict=True):
        slow = lines.select(query, slow="1ms")
        assert {lines.jobs[f"{room} chat"]} == {one.metadata["messaging_message_id"] for one in slow}
        assert lines.select(query, slow="1h") == []


def test_lines_of_one_job_are_those_of_all_its_attempts(lines: Lines) -> None:
    """And of no other job."""
    (query,) = blocks("Lines of one job", "logql")
    for room in ("celery", "rq"):
        found = lines.select(query, job=lines.jobs[f"{room} chat"])
        assert {"1", "2"} <= {one.metadata.get("taskqueue_task_attempt") for one in found}
        assert [one.line for one in found if "root line of" in one.line]
        assert {lines.jobs[f"{room} chat"]} == {one.metadata["messaging_message_id"] for one in found}


def test_last_lines_of_a_worker_are_its_own(lines: Lines) -> None:
    """Those of its jobs, and not those of another worker."""
    (query,) = blocks("Last lines of a worker", "logql")
    for room in ("celery", "rq"):
        found = lines.select(query, worker=lines.workers[room])
        jobs = {one.metadata.get("messaging_message_id") for one in found}
        assert {lines.jobs[f"{room} chat"], lines.jobs[f"{room} leak"]} <= jobs
        assert not jobs & {job for name, job in lines.jobs.items() if not name.startswith(f"{room} ")}


def test_the_task_dashboard_shows_failures_with_their_traceback(lines: Lines) -> None:
    """Wherever the library puts it: Celery beside the line, RQ into it."""
    board = dashboards.load()["taskqueue-task"]
    (panel,) = (each for each in dashboards.panels(board) if each["title"] == "Last failures, with traceback")
    (target,) = panel["targets"]
    for room in ("celery", "rq"):
        (found,) = lines.select(target["expr"], task=f"support.apps.logs_{room}.leak")
        assert found.line.count("Traceback (most recent call last)") >= 1, found
        assert "ValueError" in found.line


def test_every_link_to_loki_is_a_query_that_the_tests_understand(lines: Lines) -> None:
    """Whatever a click opens selects lines and has no unknown stage."""
    seen = 0
    for board in dashboards.load().values():
        for panel in dashboards.panels(board):
            for target in dashboards.explored(panel):
                if target["datasource"]["type"] == "loki":
                    lines.select(re.sub(r"\$\{__[\w.]+\}", "x", target["expr"]))
                    seen += 1
    assert seen > 30


@pytest.mark.parametrize("panel", PANELS)
def test_every_field_of_the_kibana_queries_is_one_that_records_have(panel: str) -> None:
    """KQL and ES|QL alike; attributes are those of docs/logs.md."""
    for query in blocks(panel, "kql") + blocks(panel, "esql"):
        attributes = set(re.findall(r"attributes\.([\w.]+)", query))
        assert attributes <= ATTRIBUTES, query
    for query in blocks(panel, "kql"):
        fields = re.findall(r"([@\w.]+) :", query)
        assert fields
        assert {field for field in fields if not field.startswith("attributes.")} <= OF_A_RECORD


@pytest.mark.parametrize("panel", PANELS)
def test_the_esql_queries_have_the_form_of_one(panel: str) -> None:
    """A source, then known commands; what they name is a field, or was made before."""
    queries = blocks(panel, "esql")
    assert queries
    for query in queries:
        source, *steps = re.split(r"\n\| ", query)
        assert source == "FROM logs-*.otel-*"
        assert all(step.split()[0] in COMMANDS for step in steps)
        made = set(re.findall(r"%{\w+:(\w+)", query)) | set(re.findall(r"(\w+) = ", query))
        for step in steps:
            if step.startswith(("KEEP", "SORT")):
                names = re.sub(r"^(KEEP|SORT) | (ASC|DESC)", "", step).split(", ")
                plain = {name for name in names if not name.startswith("attributes.")}
                assert plain <= OF_A_RECORD | made, step


def test_the_table_of_fields_names_what_records_have(lines: Lines) -> None:
    """Each of Loki's names is on a real line, and each is the record's name with underscores."""
    rows = re.findall(r"^\| [\w ]+ \| `([\w.]+)` \| `(\w+)` \| `attributes\.([\w.]+)`", PAGE, re.MULTILINE)
    assert len(rows) == 7
    seen = {name for one in lines.entries for name in one.metadata}
    for record, loki, elastic in rows:
        assert (record.replace(".", "_"), record) == (loki, elastic)
        assert record in ATTRIBUTES
        assert loki in seen
