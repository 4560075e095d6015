"""What must be true of every collector configuration; no collector is needed to see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.configurations import FILES, FOLDER, KINDS, ROOT, WHOLE, components, load, name

# Old names of components are aliases that log a warning, until they are gone.
DEPRECATED = {
    "otlp": ("exporters",),
    "otlphttp": ("exporters",),
    "filelog": ("receivers",),
    "otlpjsonfile": ("receivers",),
    "spanmetrics": ("connectors",),
    "servicegraph": ("connectors",),
    "loadbalancing": ("exporters",),
}
# How the modules in the builder's manifest call what the configurations call otherwise.
MODULES = {
    "otlp_grpc": "otlp",
    "otlp_http": "otlphttp",
    "file_log": "filelog",
    "otlp_json_file": "otlpjsonfile",
    "span_metrics": "spanmetrics",
    "service_graph": "servicegraph",
    "load_balancing": "loadbalancing",
    "memory_limiter": "memorylimiter",
    "tail_sampling": "tailsampling",
    "file_storage": "filestorage",
    "health_check": "healthcheck",
}
LISTENS_TO_THE_NETWORK = re.compile(r"0\.0\.0\.0|\[::\]")


every = pytest.mark.parametrize("path", FILES, ids=map(name, FILES))
whole = pytest.mark.parametrize("path", WHOLE, ids=map(name, WHOLE))


def mappings(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from mappings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mappings(inner)


def test_all_configurations_are_there() -> None:
    """The set that the documentation speaks of."""
    expected = {
        *("local", "gateway", "agent", "sampling", "kafka-producer", "kafka-consumer"),
        *("dual", "replay", "resample", "file-logs"),
        *(f"backends/{one}" for one in ("jaeger", "tempo", "loki", "prometheus", "elasticsearch", "datadog")),
    }
    assert {name(path).removesuffix(".yaml") for path in FILES} == expected


@every
def test_a_header_says_what_it_is_for_and_how_to_start_it(path: Path) -> None:
    """Purpose, lowest version, command, what to expect: before the first line of YAML."""
    header = [line for line in path.read_text().split("\n\n")[0].splitlines() if line.startswith("#")]
    text = "\n".join(header)
    assert len(header) >= 4, text
    for needed in ("0.154", "--config", path.name):
        assert needed in text, f"the header does not speak of {needed}"


@every
def test_components_have_their_current_names(path: Path) -> None:
    """A deprecated alias would end as an error."""
    for kind, type_, _settings in components(load(path)):
        assert kind not in DEPRECATED.get(type_, ()), f"{type_} is a deprecated name"


@pytest.mark.parametrize("kind", KINDS)
def test_the_builder_s_manifest_has_what_is_used_and_nothing_else(kind: str) -> None:
    """What is not built in cannot be proved; what nobody uses is built by everybody."""
    manifest = load(ROOT / "backends" / "collector" / "manifest.yaml")
    built = {entry["gomod"].split()[0].rpartition("/")[2] for entry in manifest[kind]}
    used = {type_ for path in FILES for of, type_, _settings in components(load(path)) if of == kind}
    assert built == {module(kind, type_) for type_ in used}


def module(kind: str, type_: str) -> str:
    """The last part of its import path."""
    return MODULES.get(type_, type_) + ("" if type_ == "file_storage" else kind[:-1])


@whole
def test_every_component_is_used_and_every_reference_resolves(path: Path) -> None:
    """A typing error in a pipeline, or what was forgotten there."""
    document = load(path)
    service = document["service"]
    defined = {(kind, full) for kind in KINDS for full in document.get(kind) or {}}
    used = {("extensions", full) for full in service.get("extensions", ())}
    connectors = set(document.get("connectors") or {})
    for pipeline in service["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            for full in pipeline.get(kind, ()):
                used.add(("connectors" if full in connectors else kind, full))
    assert used == defined


@whole
def test_the_memory_limiter_comes_first(path: Path) -> None:
    """Where data comes in from outside: refused before anything is done with it."""
    document = load(path)
    connectors = set(document.get("connectors") or {})
    for pipeline in document["service"]["pipelines"].values():
        if not set(pipeline["receivers"]) <= connectors and not forgets_what_is_refused(pipeline):
            assert pipeline["processors"][0] == "memory_limiter"


@whole
def test_what_is_refused_only_once_is_not_refused(path: Path) -> None:
    """The reader of OTLP files goes on after a refusal: no memory limiter, queues that block when full."""
    document = load(path)
    for pipeline in filter(forgets_what_is_refused, document["service"]["pipelines"].values()):
        assert "memory_limiter" not in pipeline.get("processors", ())
        for exporter in pipeline["exporters"]:
            assert document["exporters"][exporter]["sending_queue"]["block_on_overflow"] is True


def forgets_what_is_refused(pipeline: dict[str, Any]) -> bool:
    """Whether nobody repeats what this pipeline does not take."""
    return all(receiver.startswith("otlp_json_file") for receiver in pipeline["receivers"])


@whole
def test_where_workers_send_a_full_batch_with_long_tracebacks_is_taken(path: Path) -> None:
    """512 spans of up to 64 KiB each and a bit; agents send as much to the second tier."""
    protocols = (load(path).get("receivers", {}).get("otlp") or {}).get("protocols", {})
    if "grpc" in protocols:
        assert protocols["grpc"]["max_recv_msg_size_mib"] == 64
    if "http" in protocols:
        assert protocols["http"]["max_request_body_size"] == 64 * 1024 * 1024


@every
def test_nothing_is_batched_before_the_queue(path: Path) -> None:
    """The batch processor would hold in memory what the queue on disk is to keep."""
    assert "batch" not in (load(path).get("processors") or {})


@every
def test_a_queue_on_disk_never_gives_up(path: Path) -> None:
    """With the default of 300 s a backend that is away for longer would lose what the disk holds."""
    for kind, type_, settings in components(load(path)):
        if kind == "exporters" and "storage" in (settings.get("sending_queue") or {}) and type_ != "file":
            assert settings["retry_on_failure"]["max_elapsed_time"] == 0, type_


@pytest.mark.parametrize(
    "path", [FOLDER / "gateway.yaml", FOLDER / "sampling.yaml"], ids=["gateway", "sampling"]
)
def test_where_there_may_be_several_the_service_graph_tells_whose_it_is(path: Path) -> None:
    """Each of its metrics, in the same way; span_metrics does it by itself."""
    document = load(path)
    assert "transform/service_graph" in document["service"]["pipelines"]["metrics"]["processors"]
    (statement,) = document["processors"]["transform/service_graph"]["metric_statements"]
    assert 'datapoint.attributes["collector.instance.id"]' in statement
    assert "${env:COLLECTOR_ID_FILE:-/proc/sys/kernel/hostname}" in statement


@every
def test_a_file_channel_does_not_erase_itself(path: Path) -> None:
    """The file exporter truncates its file at the start unless told otherwise."""
    for kind, type_, settings in components(load(path)):
        if kind == "exporters" and type_ == "file":
            assert settings.get("append") is True or "rotation" in settings


@every
def test_variables_in_regular_expressions_are_escaped(path: Path) -> None:
    """`$1` would be taken for a variable of the environment; `$$1` is meant."""
    text = re.sub(r"(?m)^\s*#.*$", "", path.read_text())
    assert not re.search(r"(?<!\$)\$(?!\$|\{env:|\{file:)", text.replace("$$", ""))


@pytest.mark.parametrize("path", [FOLDER / "local.yaml", FOLDER / "agent.yaml"], ids=["local", "agent"])
def test_what_runs_beside_the_application_listens_to_it_alone(path: Path) -> None:
    """Loopback; a tier that others send to listens to the network."""
    assert not LISTENS_TO_THE_NETWORK.search(path.read_text())


@every
def test_no_secret_is_written_down(path: Path) -> None:
    """Keys and passwords come from the environment."""
    for mapping in mappings(load(path)):
        for key, value in mapping.items():
            if re.search(r"(?i)(api.?key|password|authorization|token)$", str(key)):
                assert str(value).count("${env:"), f"{key}: {value}"
