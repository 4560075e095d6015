"""The example with a web application and both queues: its files, its README and what its trace tells."""

from __future__ import annotations

import re
from importlib.metadata import distribution

import pytest

from support.backends import jaeger
from support.backends.programs import ROOT
from support.examples import commands, drawn, promised
from support.otlp import Span
from support.shop import CONFIG, FOLDER, README, Shop

pytestmark = [pytest.mark.xdist_group("shop"), pytest.mark.timeout(300)]


def attempts(shop: Shop, task: str) -> list[Span]:
    """The attempts of a task, oldest start first."""
    return [span for span in shop.sent if span.name == f"process {task}"]


def test_the_trace_in_jaeger_is_the_tree_of_the_readme(shop: Shop) -> None:
    """Drawn from what Jaeger has, not from what was sent."""
    assert promised(README) == drawn(shop.jaeger.trace(shop.trace_id))


def test_a_retried_attempt_tells_its_reason_and_is_no_error(shop: Shop) -> None:
    """The bank was busy; the second attempt links to the first."""
    first, second = attempts(shop, "tasks.charge")
    (retry,) = first.named_events("taskqueue.retry")
    assert ("UNSET", "") == (first.status, first.status_message)
    assert "BankIsBusyError" in retry.attributes["taskqueue.retry.reason"]
    assert 1 <= second.attributes["taskqueue.task.attempt"] - first.attributes["taskqueue.task.attempt"]
    assert [first.span_id] == [link.span_id for link in second.links]


def test_a_killed_attempt_has_its_signal_and_its_real_process(shop: Shop) -> None:
    """The process could not tell; its parent did, and the next attempt ran in another process."""
    killed, second = attempts(shop, "jobs.render_invoice")
    assert "ERROR" == killed.status
    told = {key: killed.attributes[key] for key in ("taskqueue.exit.signal", "taskqueue.failure.category")}
    assert {"taskqueue.exit.signal": "SIGKILL", "taskqueue.failure.category": "killed"} == told
    assert killed.attributes["process.pid"] != second.attributes["process.pid"]
    assert [killed.span_id] == [link.span_id for link in second.links]


def test_no_file_of_the_example_knows_of_telemetry() -> None:
    """Nothing is imported, and nothing is set up."""
    sources = sorted(FOLDER.glob("*.py"))
    assert {"app.py", "jobs.py", "order.py", "tasks.py"} == {source.name for source in sources}
    assert [] == [
        source.name for source in sources if re.search("(?i)opentelemetry|otel", source.read_text())
    ]


def test_the_requirements_bring_what_the_example_imports_and_starts() -> None:
    """Every requirement is installed where the example was run, so the tests ran with what a user gets."""
    names = re.findall(r"(?m)^[\w-]+", (FOLDER / "requirements.txt").read_text())
    assert names == sorted(names)
    assert all(distribution(name).version for name in names)
    imported = {name for source in FOLDER.glob("*.py") for name in imports(source.read_text())}
    assert {"celery", "fastapi", "jobs", "redis", "rq", "tasks"} == imported
    assert {"celery", "fastapi", "opentelemetry-instrumentation-fastapi", "otel-taskqueue", "uvicorn"} == set(
        names
    )


def test_the_readme_starts_the_backends_with_the_files_that_the_tests_use() -> None:
    """Paths seen from the example's folder."""
    jaeger_command, collector_command = (line.partition("--config ")[2] for line in commands(README)[:2])
    assert jaeger.CONFIG == (FOLDER / jaeger_command).resolve()
    assert ROOT / CONFIG == (FOLDER / collector_command).resolve()


def imports(source: str) -> set[str]:
    """Top-level names that a file imports, the standard library's left out."""
    import sys

    found = set(re.findall(r"(?m)^(?:from|import) (\w+)", source))
    return found - sys.stdlib_module_names
