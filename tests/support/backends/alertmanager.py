"""A real Alertmanager on a free port, with the configuration that we ship."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from support.backends.programs import ROOT, require
from support.env import base_env
from support.process import RealProcess
from support.servers import free_port, started

FOLDER = ROOT / "monitoring" / "alertmanager"
SHIPPED = FOLDER / "alertmanager.yml"
#: Where the shipped file looks for its secrets.
SECRETS = "/etc/alertmanager/secrets"
START_SECONDS = 20.0

Document = dict[str, Any]


def shipped() -> Document:
    """The configuration that we ship."""
    document = yaml.safe_load(SHIPPED.read_text())
    assert isinstance(document, dict)
    return document


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the three tiers go in a test, and with which secrets."""

    chat_url: str
    mail_host: str
    mail_password: str
    ticket_url: str
    ticket_token: str


def install(
    folder: Path, addresses: Addresses, adapt: Callable[[Document], None] = lambda _document: None
) -> Path:
    """What a user does: copy the folder, write the secrets, put in addresses; answer the file.

    ``adapt`` may change more, such as the times.
    """
    home = folder / "alertmanager"
    secrets = home / "secrets"
    secrets.mkdir(parents=True)
    shutil.copytree(FOLDER / "templates", home / "templates")
    for name, secret in (
        ("chat_url", addresses.chat_url),
        ("mail_password", addresses.mail_password),
        ("ticket_token", addresses.ticket_token),
    ):
        # Without a newline: Alertmanager 0.25 would send it as part of the mail's password.
        (secrets / name).write_text(secret)
    document = json.loads(json.dumps(shipped()).replace(SECRETS, str(secrets)))
    document["global"]["smtp_smarthost"] = addresses.mail_host
    _receiver(document, "ticket")["webhook_configs"][0]["url"] = addresses.ticket_url
    adapt(document)
    path = home / "alertmanager.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _receiver(document: Document, name: str) -> Document:
    (found,) = (row for row in document["receivers"] if row["name"] == name)
    return found


def hurry(document: Document) -> None:
    """Shorten every time of the routes to a second."""
    root = document["route"]
    for route in (root, *root.get("routes", ())):
        route.update(group_wait="1s", group_interval="1s")


def listen_too(name: str, url: str) -> Callable[[Document], None]:
    """Tell ``url`` of every alert at once, besides what the shipped routes do with it."""

    def adapt(document: Document) -> None:
        document["receivers"].append({"name": name, "webhook_configs": [{"url": url}]})
        first = {"receiver": name, "continue": True, "group_by": ["..."]}
        times = {"group_wait": "0s", "group_interval": "5s", "repeat_interval": "1h"}
        document["route"]["routes"].insert(0, {**first, **times})

    return adapt


@dataclass(slots=True)
class Alertmanager:
    """A running server."""

    process: RealProcess
    url: str

    @property
    def endpoint(self) -> str:
        """Its address as ``host:port``."""
        return self.url.removeprefix("http://")

    def log(self) -> str:
        """Everything that it wrote."""
        return self.process.output()

    def post(self, *alerts: Mapping[str, Any]) -> None:
        """Hand it alerts, as Prometheus does: labels, annotations, startsAt, endsAt, generatorURL."""
        answer = requests.post(f"{self.url}/api/v2/alerts", json=copy.deepcopy(alerts), timeout=10)
        assert answer.ok, answer.text

    def alerts(self) -> list[Mapping[str, Any]]:
        """All alerts that it knows, silenced and inhibited ones too."""
        return list(requests.get(f"{self.url}/api/v2/alerts", timeout=10).json())


@contextlib.contextmanager
def running_alertmanager(
    folder: Path, config: Path, *, env: Mapping[str, str] | None = None
) -> Iterator[Alertmanager]:
    """Start one with its data below ``folder``, stop it at the end.

    Raises:
        NotInTimeError: it did not start, with its log.
    """
    server = _start(folder / "alertmanager-data", config, env or {})
    try:
        yield server
    finally:
        server.process.stop()


def _start(home: Path, config: Path, env: Mapping[str, str]) -> Alertmanager:
    program = require("alertmanager")

    def attempt() -> tuple[RealProcess, str]:
        address = f"127.0.0.1:{free_port()}"
        command: Sequence[str] = [
            *[str(program), f"--config.file={config}", f"--storage.path={home}"],
            *[f"--web.listen-address={address}", "--cluster.listen-address="],
        ]
        process = RealProcess(
            "alertmanager", command, env=base_env(**env), log=home.with_suffix(".log"), cwd=config.parent
        )
        return process, f"http://{address}"

    return Alertmanager(*started(attempt, lambda _process, url: _ready(url), START_SECONDS))


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.RequestException:
        return False
