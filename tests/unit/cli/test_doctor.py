"""The doctor says what a worker started here would find."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from otel_taskqueue.cli import checks
from otel_taskqueue.core.relay import lanes

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_IN_CODE = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
class Redacting(SimpleSpanProcessor):
    pass
provider = TracerProvider()
provider.add_span_processor(Redacting(ConsoleSpanExporter()))
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
"""


def doctor(*arguments: str, folder: Path | None = None, **env: str) -> tuple[int, list[str]]:
    """Exit status and lines of a doctor in a process of its own: it sets the SDK up there."""
    code = "import sys; from otel_taskqueue.cli import main; sys.exit(main(['doctor', *sys.argv[1:]]))"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=kept | {"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"} | env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, [*ended.stdout.splitlines(), *ended.stderr.splitlines()]


def has(lines: list[str], level: str, words: str) -> bool:
    """Whether a line of this level holds these words."""
    return any(line.strip().startswith(level) and words in line for line in lines)


def test_grpc_is_advised_against_where_children_are_forked() -> None:
    """A note, no fault; none of it over HTTP."""
    words = "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    status, lines = doctor(
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1"
    )
    assert (0, True) == (status, has(lines, "note", words)), lines
    assert not has(doctor(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")[1], "note", words)


def test_where_all_is_well_nothing_is_wrong() -> None:
    """Exit status 0, the libraries with versions, the relay in use."""
    status, lines = doctor(OTEL_EXPORTER_OTLP_ENDPOINT="http://user:hunter2@127.0.0.1:1/path")

    assert (0, "Nothing is wrong.") == (status, lines[-1]), lines
    assert has(lines, "ok", f"celery {checks.installed('celery')} (from 5.3 on)")
    assert has(lines, "ok", f"rq {checks.installed('rq')} (from 1.16 on)")
    assert has(lines, "ok", "relay: children")
    assert has(lines, "ok", "spans: BatchSpanProcessor works in the parent, for all children")
    assert has(lines, "ok", "metrics: what children measure is recorded in the parent")


def test_a_collector_that_does_not_answer_is_a_note_without_its_password() -> None:
    """It may come later; workers do not need it."""
    status, lines = doctor(OTEL_EXPORTER_OTLP_ENDPOINT="http://user:hunter2@127.0.0.1:1/path")

    assert 0 == status
    assert has(lines, "note", "spans: BatchSpanProcessor -> OTLPSpanExporter -> 127.0.0.1:1 does not answer")
    assert "hunter2" not in "\n".join(lines)


def test_a_collector_that_answers_is_told() -> None:
    """Host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        _, lines = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")

    assert has(lines, "ok", f"127.0.0.1:{port} answers")


def test_a_disabled_sdk_is_wrong() -> None:
    """Whoever asks the doctor wants telemetry."""
    status, lines = doctor(OTEL_SDK_DISABLED="true")

    assert 1 == status
    assert has(lines, "WRONG", "OTEL_SDK_DISABLED=true")


def test_a_disabled_instrumentation_is_wrong() -> None:
    """It is one of two, but it is somebody's mistake."""
    status, lines = doctor(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otel_taskqueue_rq")

    assert 1 == status
    assert has(lines, "WRONG", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS leaves ours out")
    assert has(lines, "ok", "celery ")


def test_without_the_relay_the_flush_is_named_with_the_reason() -> None:
    """And what is lost then."""
    status, lines = doctor(OTEL_PYTHON_TASKQUEUE_RELAY="false")

    assert 0 == status
    assert has(
        lines, "note", "no relay (switched off by OTEL_PYTHON_TASKQUEUE_RELAY): each child exports by itself"
    )
    assert has(lines, "note", "metrics: what forked children measure is lost")
    assert has(lines, "ok", "OTEL_PYTHON_TASKQUEUE_RELAY=false (default: true)")


def test_a_set_up_in_code_is_found_by_importing_it(tmp_path: Path) -> None:
    """A processor of the user stays in the child, the SDK's own works in the parent."""
    (tmp_path / "my_telemetry.py").write_text(_IN_CODE)

    status, lines = doctor("--import", "my_telemetry", folder=tmp_path)

    assert 0 == status, lines
    assert has(lines, "ok", "set up by importing my_telemetry")
    assert has(lines, "ok", "spans: Redacting is your own and stays in each child")
    assert has(lines, "ok", "spans: BatchSpanProcessor works in the parent, for all children")


def test_a_module_without_an_sdk_is_wrong(tmp_path: Path) -> None:
    """With the way out."""
    (tmp_path / "empty.py").write_text("")

    status, lines = doctor("--import", "empty", folder=tmp_path)

    assert 1 == status
    assert has(lines, "WRONG", "no SDK in this process")
    assert has(lines, "note", "no relay (no SDK in the worker's parent")


def test_a_module_that_cannot_be_imported_is_wrong(tmp_path: Path) -> None:
    """Its error in one line, no traceback."""
    (tmp_path / "broken.py").write_text("raise ValueError('no such host')")

    status, lines = doctor("--import", "broken", folder=tmp_path)

    assert 1 == status
    assert has(lines, "WRONG", "importing broken failed: ValueError: no such host")
    assert "Traceback" not in "\n".join(lines)


def test_a_send_buffer_that_the_kernel_caps_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number that was reached beside the one that was wanted."""
    wanted = 1 << 40 >> 10  # more than any kernel grants
    monkeypatch.setattr(lanes, "SEND_BUFFER", wanted)

    finding = checks._send_buffer()

    assert "note" == finding.level
    assert f"of {wanted} bytes wanted (net.core.wmem_max = " in finding.text
    assert f"sysctl -w net.core.wmem_max={wanted}" in finding.text
