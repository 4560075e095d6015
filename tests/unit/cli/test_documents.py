"""The pages and tables which are made from the code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_taskqueue import meters, semconv
from otel_taskqueue.cli import document, main, metrics, spans
from otel_taskqueue.semconv import Outcome
from otel_taskqueue.settings import OPTIONS, PREFIX

DOCS = Path(__file__).parents[3] / "docs"
#: Names that belong to metrics, or that are no name of a span's parts.
ELSEWHERE = {
    semconv.SCOPE,
    semconv.SCHEMA_URL,
    semconv.TELEMETRY_SIGNAL,
    semconv.QUEUE_STATE,
    semconv.EXIT_REASON,
    semconv.SCHEDULE_NAME,
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the person who runs the tests reaches them."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("command", ["settings", "spans", "metrics", "failures"])
def test_the_page_in_docs_is_the_one_of_the_code(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever changes an option or an attribute renews its page."""
    status = main([command, "--check", str(DOCS / f"{command}.md")])

    assert (0, "") == (status, capsys.readouterr().err)


@pytest.mark.parametrize("command", ["settings", "spans", "metrics", "failures"])
def test_a_stale_page_is_told_with_the_command_that_renews_it(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One character is enough."""
    page = tmp_path / "page.md"
    main([command, "--markdown"])
    page.write_text(capsys.readouterr().out + " ")

    assert 1 == main([command, "--check", str(page)])
    assert f"otel-taskqueue {command} --markdown > {page}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["settings", "spans", "metrics", "failures"])
def test_a_page_that_is_not_there_is_stale(command: str, tmp_path: Path) -> None:
    """A forgotten page is no up-to-date page."""
    assert 1 == main([command, "--check", str(tmp_path / "no.md")])


def test_settings_shows_values_and_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each option, with the value in force."""
    monkeypatch.setenv(PREFIX + "RELAY", "no")
    monkeypatch.setenv("COLUMNS", "160")

    assert 0 == main(["settings"])

    lines = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: line.split()[1:3] for line in lines if line.startswith(PREFIX)}
    assert {option.variable for option in OPTIONS.values()} == set(found)
    assert ["false", "environment"] == found[PREFIX + "RELAY"]
    assert ["1.0", "default"] == found[PREFIX + "FLUSH_TIMEOUT"]


def test_settings_does_not_depend_on_the_environment_in_markdown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The documentation shows defaults."""
    monkeypatch.setenv(PREFIX + "RELAY", "no")

    assert 0 == main(["settings", "--check", str(DOCS / "settings.md")])
    assert "" == capsys.readouterr().err


@pytest.mark.parametrize("width", [70, 100, 160])
def test_a_table_stays_within_the_terminal(width: int) -> None:
    """The last column wraps, and goes below the others when there is no room beside them."""
    rows = [("a" * 20, "b" * 10, "word " * 40), ("a", "b", "")]

    lines = document.plain_table(("one", "two", "three"), rows, width).splitlines()

    assert max(map(len, lines)) <= width
    assert 40 == " ".join(lines).count("word")


def test_every_name_that_is_emitted_is_on_the_page() -> None:
    """A name that is added to the vocabulary is explained."""
    described = {name.key for name in (*spans.ATTRIBUTES, *spans.EVENTS, *spans.CARRIER)}
    prefixes = ("messaging.", "taskqueue", "server.", "process.", "exception", "error.type", "traceparent")
    emitted = {
        value for value in vars(semconv).values() if isinstance(value, str) and value.startswith(prefixes)
    }

    assert emitted - ELSEWHERE == described


def test_every_outcome_is_on_the_page() -> None:
    """Each end of an attempt is explained, with its status."""
    assert set(Outcome) == set(spans.OUTCOMES)
    page = spans.markdown()
    assert "| `lost` | its process was killed, crashed or left; a cold shutdown | ERROR |" in page
    assert "| `success` | returned | UNSET |" in page


def test_every_metric_is_on_the_page_once() -> None:
    """A metric that nobody can look up is no metric."""
    groups = (metrics.PRODUCER, metrics.ATTEMPTS, metrics.WORKER, metrics.OBSERVER, metrics.EVERYWHERE)
    told = [metric.name for group in groups for metric in group]

    assert sorted(told) == sorted(metric.name for metric in meters.TABLE)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """`otel-taskqueue spans | head -1` prints no traceback."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from otel_taskqueue.cli import main; sys.exit(main(['spans']))"
    with os.fdopen(write, "wb", closefd=True) as pipe:
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False
        )

    assert (0, b"") == (ended.returncode, ended.stderr)
