"""What the pages tell people to type is what the headers say, and those are what the tests start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.collecting import ADDRESS, header, told_configs, told_worker_env
from support.configurations import FOLDER, ROOT, WHOLE, load, name
from support.env import base_env, script
from support.otlp import Receiver
from support.process import RealProcess
from support.wait import wait_for

DOCS = ROOT / "docs"
PAGES = {
    **dict.fromkeys(("local.yaml", "gateway.yaml", "dual.yaml", "replay.yaml"), "collector.md"),
    **dict.fromkeys(("agent.yaml", "sampling.yaml", "resample.yaml"), "two-tiers.md"),
    **dict.fromkeys(("kafka-producer.yaml", "kafka-consumer.yaml"), "kafka.md"),
}
COLLECTOR = re.compile(r"(?:[A-Z_]+=\S+ )*otelcol-contrib(?: --config \S+)+")
WORKER = re.compile(r"(?:[A-Z_]+=\S+ )*opentelemetry-instrument celery -A shop worker")
# Where workers send to: what takes OTLP over HTTP. (Collectors send to one another over gRPC.)
FIRST = [
    name(path)
    for path in WHOLE
    if "http" in (load(path)["receivers"].get("otlp") or {"protocols": {}})["protocols"]
]
# What a worker does, as short as can be.
ONE_SPAN = 'from opentelemetry import trace; trace.get_tracer("shop").start_span("work").end()'


def on_one_line(text: str) -> str:
    """Without the backslashes at the ends of lines."""
    return re.sub(r"\s+", " ", text.replace("\\\n", " "))


@pytest.mark.parametrize("configuration", PAGES)
def test_the_page_has_the_commands_of_the_header(configuration: str) -> None:
    """Word by word; there is one to start the collector, and where workers send to it, one for them."""
    page = on_one_line((DOCS / PAGES[configuration]).read_text())
    said = on_one_line(header(configuration))

    commands, workers = COLLECTOR.findall(said), WORKER.findall(said)
    assert len(commands) == 1
    assert len(workers) == (configuration in FIRST)
    for command in commands + workers:
        assert f" {command} " in page
    assert told_configs(configuration)[-1] == f"collector-config/{configuration}"
    assert all((ROOT / config).exists() for config in told_configs(configuration))


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_a_worker_on_a_page_is_one_of_a_header(page: Path) -> None:
    """No page tells of a worker that the next test has not started."""
    told = {command for one in FIRST for command in WORKER.findall(on_one_line(header(one)))}
    assert set(WORKER.findall(on_one_line(page.read_text()))) <= told | of_an_exporting_shell(page)


def of_an_exporting_shell(page: Path) -> set[str]:
    """The quickstart exports the protocol first: then a command needs nothing but a name."""
    if "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" not in page.read_text():
        return set()
    bare = "OTEL_SERVICE_NAME=shop-worker opentelemetry-instrument celery -A shop worker"
    return {bare}


def test_workers_send_to_these() -> None:
    """The check sees what it is to check."""
    assert set(FIRST) == {"local.yaml", "gateway.yaml", "agent.yaml", "kafka-producer.yaml"}


@pytest.mark.parametrize("configuration", FIRST)
def test_a_worker_started_as_told_exports(configuration: str, tmp_path: Path) -> None:
    """With the variables of its header, and the address of a receiver at hand, its spans arrive."""
    with Receiver() as receiver:
        worker = RealProcess(
            "worker",
            [script("opentelemetry-instrument"), "python", "-c", ONE_SPAN],
            env=base_env(**told_worker_env(configuration), **{ADDRESS: receiver.endpoint}),
            log=tmp_path / "worker.log",
        )
        assert worker.wait(60) == 0, worker.tail()
        wait_for(receiver.spans, 5, "the span", worker.tail)
        assert [span.name for span in receiver.spans()] == ["work"]


def test_a_worker_is_told_how_long_to_wait_and_how_much_to_hold() -> None:
    """The load test runs with these numbers; the page explains them."""
    page = (DOCS / "collector.md").read_text()
    assert set(told_worker_env("gateway.yaml")) == {
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BLRP_MAX_QUEUE_SIZE",
    }
    for variable, value in told_worker_env("gateway.yaml").items():
        assert f"`{variable}`" in page
        assert f"{variable}={value}" in page


def test_every_configuration_is_on_the_page() -> None:
    """Whoever looks for one finds it, with where to read on."""
    page = (DOCS / "collector.md").read_text()
    for path in FOLDER.glob("*.yaml"):
        assert path.name in page
