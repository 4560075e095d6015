"""The stack for people with Docker, as far as it can be judged without: form, files, configurations."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import dashboards
from support.backends.otelcol import validate
from support.backends.programs import ROOT, require
from support.env import TESTS, base_env
from support.json_schema import Schema
from support.otlp import Receiver

DOCUMENT = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
SCHEMA = Schema(json.loads((TESTS / "support" / "schemas" / "compose-spec.json").read_text()))
STACK = {
    *("collector", "jaeger", "tempo", "loki", "prometheus", "alertmanager", "grafana", "ready"),
    *("redis", "rabbitmq"),
}
services = pytest.mark.parametrize("name", sorted(SERVICES))


def test_it_has_the_form_that_compose_asks_for() -> None:
    """By the JSON schema of the Compose Specification."""
    assert SCHEMA.complaints(DOCUMENT) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda service: service.update(imagee="x"), "$.services.collector.imagee: not allowed"),
        (lambda service: service.update(ports=[{"targett": 80}]), "$.services.collector.ports[0]"),
        (lambda service: service.update(depends_on={"x": {"condition": "happy"}}), "'happy' is none of"),
        (lambda service: service.update(image=3), "$.services.collector.image: 3 is not string"),
        (lambda service: service.update(volumes=["a", "a"]), "something is there twice"),
    ],
)
def test_the_check_sees_what_is_wrong(change: Any, complaint: str) -> None:
    """A document with a mistake does not pass."""
    broken = copy.deepcopy(DOCUMENT)
    change(broken["services"]["collector"])
    assert complaint in "\n".join(SCHEMA.complaints(broken))


def test_it_starts_the_whole_stack_and_the_shop_on_request() -> None:
    """Without a profile all that carries telemetry; with `example` the workers, too."""
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == STACK
    shop = {name for name, service in SERVICES.items() if service.get("profiles") == ["example"]}
    assert shop == {
        *("shop-web", "shop-worker", "invoice-worker", "observe-celery", "observe-rq", "customer"),
    }
    assert shop | STACK == set(SERVICES)


@services
def test_an_image_has_an_exact_version(name: str) -> None:
    """`latest` is another one tomorrow."""
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[\w./-]+:(v?\d+\.\d+\.\d+[\w.-]*|local)", image), image


@services
def test_ports_are_open_for_this_machine_alone(name: str) -> None:
    """Nobody is asked for a password here."""
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port


@services
def test_what_is_mounted_exists_and_cannot_be_written(name: str) -> None:
    """Docker would make a folder of each file that is missing."""
    for mount in SERVICES[name].get("volumes", ()):
        source, _, rest = mount.partition(":")
        if source in DOCUMENT["volumes"]:
            continue
        assert (ROOT / source).exists(), source
        assert rest.endswith(":ro"), mount


@services
def test_everything_tells_whether_it_is_healthy(name: str) -> None:
    """Itself, or where it has no shell for that, by the one that asks from outside; workers just run."""
    service = SERVICES[name]
    if "healthcheck" in service:
        return
    asked = re.findall(r"http://([\w-]+):", SERVICES["ready"]["environment"]["URLS"])
    assert name in asked or service.get("profiles") == ["example"]


def test_whoever_is_waited_for_can_become_what_is_waited_for() -> None:
    """`service_healthy` needs a health check."""
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[other]


def test_the_collector_takes_its_configuration() -> None:
    """Both files together, with the variables of the service, by the real collector."""
    files = _mounted("collector")
    configs = [files[argument.removeprefix("--config=")] for argument in SERVICES["collector"]["command"]]
    assert validate(configs, SERVICES["collector"]["environment"]) == ""


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """With the stack's targets in the place of the others, by the real promtool."""
    files = _mounted("prometheus")
    home = tmp_path / "prometheus"
    shutil.copytree(ROOT / files["/etc/prometheus"], home)
    shutil.copytree(ROOT / files["/etc/prometheus/targets"], home / "targets", dirs_exist_ok=True)
    command = [str(require("promtool")), "check", "config", str(home / "prometheus.yml")]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    ours, theirs = (ROOT / files[where] for where in ("/etc/prometheus/targets", "/etc/prometheus"))
    assert {path.name for path in ours.iterdir()} == {path.name for path in (theirs / "targets").iterdir()}
    named = [
        target
        for path in ours.iterdir()
        for one in yaml.safe_load(path.read_text())
        for target in one["targets"]
    ]
    assert {target.partition(":")[0] for target in named} <= set(SERVICES)


def test_alertmanager_takes_its_configuration() -> None:
    """By the real amtool."""
    folder = ROOT / _mounted("alertmanager")["/etc/alertmanager"]
    command = [str(require("amtool")), "check-config", str(folder / "alertmanager.yml")]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_grafana_finds_its_data_sources_and_dashboards() -> None:
    """The addresses that the provisioning asks for, the folder that it reads, the page that it opens with."""
    environment = SERVICES["grafana"]["environment"]
    sources = yaml.safe_load((dashboards.GRAFANA / "provisioning/datasources/datasources.yaml").read_text())
    for source in sources["datasources"]:
        host = re.fullmatch(r"http://([\w-]+):\d+", environment[source["url"].removeprefix("$")])
        assert host is not None
        assert host[1] in SERVICES
    files = _mounted("grafana")
    (provider,) = yaml.safe_load(
        (dashboards.GRAFANA / "provisioning/dashboards/dashboards.yaml").read_text()
    )["providers"]
    assert files[provider["options"]["path"]] == "monitoring/grafana/dashboards"
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (dashboards.GRAFANA / "dashboards" / home.name).exists()


def test_rates_are_taken_over_the_interval_of_export() -> None:
    """Grafana's smallest step is that of Prometheus and of the workers; less would show gaps."""
    sources = yaml.safe_load((dashboards.GRAFANA / "provisioning/datasources/datasources.yaml").read_text())
    (step,) = [
        each["jsonData"]["timeInterval"] for each in sources["datasources"] if each["uid"] == "prometheus"
    ]
    config = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yml").read_text())
    exported = SERVICES["shop-worker"]["environment"]["OTEL_METRIC_EXPORT_INTERVAL"]
    assert step == config["global"]["scrape_interval"] == f"{int(exported) // 1000}s"


def test_the_image_of_the_shop_is_made_of_what_is_here() -> None:
    """Whatever the Dockerfile copies exists, and it runs what the example says."""
    lines = (ROOT / "compose" / "Dockerfile").read_text().splitlines()
    sources = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert "src" in sources
    assert all((ROOT / name).exists() for name in sources)
    readme = (ROOT / "examples/fastapi-celery-rq/README.md").read_text()
    for name in ("shop-web", "shop-worker", "invoice-worker"):
        assert f"OTEL_SERVICE_NAME={name} " in readme
        program = " ".join(SERVICES[name]["command"][:3])
        assert program in readme, program


def test_who_asks_from_outside_tells_the_truth() -> None:
    """All answer: 0; one does not: 1, and which one."""

    def ask(*urls: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "compose" / "ready.py")]
        env = base_env(URLS=" ".join(urls))
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)

    with Receiver() as receiver:
        there = receiver.env()["OTEL_EXPORTER_OTLP_ENDPOINT"]
        refused = ask(f"{there}/nothing-here")
        assert (refused.returncode, "nothing-here does not answer" in refused.stderr) == (1, True)
    gone = ask(there)
    assert (gone.returncode, gone.stderr) == (1, f"{there} does not answer\n")


def _mounted(name: str) -> dict[str, str]:
    """Where in the container each file or folder of the project is."""
    parts = [mount.split(":") for mount in SERVICES[name]["volumes"]]
    return {
        where: source.removeprefix("./") for source, where, *_ in parts if source not in DOCUMENT["volumes"]
    }
