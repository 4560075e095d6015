"""A real Prometheus 3 on a free port, with a configuration of the test or one that we ship."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import requests
import yaml

from support.backends.programs import ROOT, require
from support.env import base_env
from support.process import RealProcess
from support.servers import free_port, started
from support.wait import wait_for

#: The configuration that we ship.
SHIPPED = ROOT / "monitoring" / "prometheus" / "prometheus.yml"
READY_SECONDS = 30.0
#: What our pages advise for OTLP into Prometheus: late exports are taken, too.
OUT_OF_ORDER: Mapping[str, Any] = {"tsdb": {"out_of_order_time_window": "30m"}}


class Sample(NamedTuple):
    """One series of an instant query's answer."""

    labels: Mapping[str, str]
    value: float


@dataclass(slots=True)
class Prometheus:
    """A running server; ``url`` has no slash at its end."""

    process: RealProcess
    url: str

    @property
    def endpoint(self) -> str:
        """Its address as ``host:port``."""
        return self.url.removeprefix("http://")

    @property
    def otlp(self) -> str:
        """The base address for OTLP/HTTP exporters; it takes metrics alone, where ``otlp=True``."""
        return f"{self.url}/api/v1/otlp"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def log(self) -> str:
        """Everything that it wrote."""
        return self.process.output()

    def query(self, expr: str, at: float | None = None) -> list[Sample]:
        """Answer a query now, or at a unix time.

        Raises:
            ValueError: it is none, with Prometheus' reason.
        """
        answer = self._get("query", {"query": expr, **({} if at is None else {"time": str(at)})})
        kind, result = answer["resultType"], answer["result"]
        if kind == "scalar":
            return [Sample({}, float(result[1]))]
        return [Sample(row["metric"], float(row["value"][1])) for row in result]

    def value(self, expr: str) -> float:
        """The value of a query with one series at most; NaN when there is none."""
        found = self.query(expr)
        assert len(found) <= 1, found
        return found[0].value if found else math.nan

    def wait_for_query(
        self,
        expr: str,
        accept: Callable[[list[Sample]], object] = bool,
        timeout: float = 30.0,
    ) -> list[Sample]:
        """The first answer that ``accept`` takes; without it the first that is not empty."""

        def look() -> list[Sample] | None:
            found = self.query(expr)
            return found if accept(found) else None

        return wait_for(look, timeout, expr, lambda: f"{self.query(expr)}\n{self.process.tail()}")

    def names(self) -> set[str]:
        """All metrics that it knows."""
        return set(self._get("label/__name__/values", {}))

    def series(self, *selectors: str) -> list[Mapping[str, str]]:
        """The labels of all series that one of the selectors takes."""
        return list(self._get("series", {"match[]": list(selectors)}))

    def exemplars(self, selector: str) -> set[str]:
        """The traces to which the last hour's exemplars of these series lead."""
        now = time.time()
        found = self._get("query_exemplars", {"query": selector, "start": now - 3600, "end": now + 60})
        return {one["labels"]["trace_id"] for row in found for one in row["exemplars"]}

    def alerts(self) -> list[Mapping[str, Any]]:
        """Alerts that are pending or firing: labels, annotations, state, activeAt, value."""
        return list(self._get("alerts", {})["alerts"])

    def rules(self) -> list[Mapping[str, Any]]:
        """All rules of all groups, with health and last error."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def targets(self) -> list[Mapping[str, Any]]:
        """What it scrapes, with health and last error."""
        return list(self._get("targets", {})["activeTargets"])

    def _get(self, what: str, parameters: Mapping[str, Any]) -> Any:
        body = requests.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=30).json()
        if body["status"] != "success":
            raise ValueError(f"{body['error']}: {parameters}")
        return body["data"]


def configuration(
    *,
    scrape: Sequence[str] = (),
    rules: Sequence[Path] = (),
    alertmanagers: Sequence[str] = (),
    interval: str = "1s",
    **more: Any,
) -> dict[str, Any]:
    """A small configuration; addresses are ``host:port``, ``interval`` is that of scrapes and rules."""
    config: dict[str, Any] = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(path.resolve()) for path in rules],
        "storage": OUT_OF_ORDER,
    }
    if scrape:
        job = {"job_name": "otel-collector", "honor_labels": True}
        config["scrape_configs"] = [{**job, "static_configs": [{"targets": list(scrape)}]}]
    if alertmanagers:
        targets = {"static_configs": [{"targets": list(alertmanagers)}]}
        config["alerting"] = {"alertmanagers": [targets]}
    return {**config, **more}


def install(
    folder: Path,
    *,
    collectors: Sequence[str] = (),
    alertmanagers: Sequence[str] = (),
    interval: str = "15s",
    objectives: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """What a user does: copy the folder that we ship, put in addresses and objectives; answer the file.

    ``objectives`` are rules for slo.yaml; ``interval`` replaces that of scrapes and rules.
    """
    home = folder / "prometheus-config"
    shutil.copytree(SHIPPED.parent, home)
    wanted = {"collector": collectors, "alertmanager": alertmanagers}
    for targets in (home / "targets").iterdir():
        addresses = list(wanted.get(targets.stem, ()))
        targets.write_text(json.dumps([{"targets": addresses}]))
    slo = home / "slo.yaml"
    document = yaml.safe_load(slo.read_text())
    document["groups"][0]["rules"].extend(objectives)
    slo.write_text(yaml.safe_dump(document, sort_keys=False))
    config = home / SHIPPED.name
    config.write_text(config.read_text().replace("interval: 15s", f"interval: {interval}"))
    return config


@contextlib.contextmanager
def running_prometheus(
    folder: Path,
    *,
    config: Path | Mapping[str, Any] | None = None,
    rules: Sequence[Path] = (),
    otlp: bool = False,
    arguments: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """Start one with its data below ``folder``, wait until it is ready, stop it at the end.

    Args:
        folder: for its configuration, its data and its log.
        config: a file, used as it is and where it is (then without ``rules``); or its contents,
            which `configuration` makes; nothing for one that scrapes nothing.
        rules: rule files.
        otlp: take OTLP on ``/api/v1/otlp/v1/metrics``.
        arguments: more of the command line.

    Raises:
        NotInTimeError: it did not start, with its log.
    """
    home = folder / "prometheus"
    home.mkdir(parents=True, exist_ok=True)
    more = ["--web.enable-otlp-receiver"] if otlp else []
    server = _start(home, _file(home, config, rules), [*more, *arguments])
    try:
        yield server
    finally:
        server.process.stop()


def _file(home: Path, config: Path | Mapping[str, Any] | None, rules: Sequence[Path]) -> Path:
    if isinstance(config, Path):
        assert not rules, "a file names its rules itself"
        return config.resolve()
    contents = dict(configuration() if config is None else config)
    named = [*contents.get("rule_files", []), *(str(path.resolve()) for path in rules)]
    path = home / "prometheus.yml"
    path.write_text(json.dumps({**contents, "rule_files": named}, indent=1))  # JSON is YAML
    return path


def _start(home: Path, config: Path, arguments: Sequence[str]) -> Prometheus:
    program = require("prometheus")

    def attempt() -> tuple[RealProcess, str]:
        address = f"127.0.0.1:{free_port()}"
        command = [
            *[str(program), f"--config.file={config}", f"--storage.tsdb.path={home / 'data'}"],
            *[f"--web.listen-address={address}", *arguments],
        ]
        process = RealProcess("prometheus", command, env=base_env(), log=home / "log.txt", cwd=home)
        return process, f"http://{address}"

    return Prometheus(*started(attempt, lambda _process, url: _ready(url), READY_SECONDS))


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.RequestException:
        return False
