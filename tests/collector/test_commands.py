"""What docs/collector.md tells people to type is what the headers say, and those are what the tests start."""

from __future__ import annotations

import re

import pytest

from support.collecting import header, told_configs, told_worker_env
from support.configurations import FOLDER, ROOT

COLLECTOR = re.compile(r"(?:[A-Z_]+=\S+ )*otelcol-contrib(?: --config \S+)+")
WORKER = re.compile(r"(?:[A-Z_]+=\S+ )+opentelemetry-instrument celery -A shop worker")


def on_one_line(text: str) -> str:
    """Without the backslashes at the ends of lines."""
    return re.sub(r"\s+", " ", text.replace("\\\n", " "))


@pytest.mark.parametrize("configuration", ["local.yaml", "gateway.yaml", "dual.yaml", "replay.yaml"])
def test_the_page_has_the_commands_of_the_header(configuration: str) -> None:
    """Word by word; there is one to start the collector, and where workers send to it, one for them."""
    page = on_one_line((ROOT / "docs" / "collector.md").read_text())
    said = on_one_line(header(configuration))

    commands = COLLECTOR.findall(said)
    assert len(commands) == 1
    for command in commands + WORKER.findall(said):
        assert command in page
    assert told_configs(configuration)[-1] == f"collector-config/{configuration}"
    assert all((ROOT / config).exists() for config in told_configs(configuration))


def test_a_worker_is_told_how_long_to_wait_and_how_much_to_hold() -> None:
    """The load test runs with these numbers; the page explains them."""
    page = (ROOT / "docs" / "collector.md").read_text()
    assert set(told_worker_env("gateway.yaml")) == {
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BLRP_MAX_QUEUE_SIZE",
    }
    for name, value in told_worker_env("gateway.yaml").items():
        assert f"`{name}`" in page
        assert f"{name}={value}" in page


def test_every_configuration_is_on_the_page() -> None:
    """Whoever looks for one finds it, with where to read on."""
    page = (ROOT / "docs" / "collector.md").read_text()
    for path in FOLDER.glob("*.yaml"):
        assert path.name in page
