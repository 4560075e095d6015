"""The real collector accepts every configuration, and every overlay on its base."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.backends.documented import Start, starts, starts_of_header
from support.backends.otelcol import validate
from support.configurations import FILES, OVERLAYS, ROOT, WHOLE, base, name

# What has no sensible default: where the backends are, and the keys that they want.
ENDPOINTS = {
    "TRACES_ENDPOINT": "127.0.0.1:4317",
    "METRICS_ENDPOINT": "http://127.0.0.1:4318",
    "LOGS_ENDPOINT": "http://127.0.0.1:4318",
    "GATEWAY_HOST": "gateway.example",
    "KAFKA_BROKERS": "127.0.0.1:9092",
    "ELASTICSEARCH_ENDPOINT": "https://elastic.example",
    "ELASTICSEARCH_API_KEY": "key",
    "DD_SITE": "datadoghq.example",
    "DD_API_KEY": "key",
    "LOKI_ENDPOINT": "http://loki.example:3100",
    "PROMETHEUS_ENDPOINT": "http://prometheus.example:9090",
}

PAGES = [str(path.relative_to(ROOT / "docs")) for path in sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = [
    *((f"{page} {number}", start) for page in PAGES for number, start in enumerate(starts(page))),
    *((f"header of {name(path)}", start) for path in FILES for start in starts_of_header(name(path))),
]


@pytest.mark.parametrize("path", WHOLE, ids=map(name, WHOLE))
def test_it_is_accepted(path: Path, tmp_path: Path) -> None:
    """`otelcol validate` has nothing to say."""
    assert validate([path], _environment(tmp_path)) == ""


@pytest.mark.parametrize("path", OVERLAYS, ids=map(name, OVERLAYS))
def test_an_overlay_is_accepted_on_its_base(path: Path, tmp_path: Path) -> None:
    """Maps are merged, arrays replaced: both files together must be whole."""
    assert validate([base(path), path], _environment(tmp_path)) == ""


@pytest.mark.parametrize(("where", "start"), COMMANDS, ids=[where for where, _start in COMMANDS])
def test_a_command_is_complete(where: str, start: Start) -> None:
    """What a page or a header tells to type is accepted with the variables in it and no others."""
    assert validate(start.configs, start.variables, start.arguments) == "", where


def test_what_is_wrong_is_not_accepted(tmp_path: Path) -> None:
    """The check can fail."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("receivers: {otlp: {protocols: {grpc: {endpoint: nowhere, no_such_key: 1}}}}\n")
    assert "no_such_key" in validate([broken])


def _environment(directory: Path) -> dict[str, str]:
    return {**ENDPOINTS, "OTELCOL_QUEUE_DIR": str(directory), "OTELCOL_FILE_DIR": str(directory)}
