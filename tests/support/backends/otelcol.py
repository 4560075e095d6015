"""The real OpenTelemetry Collector on ports and in directories of its own."""

from __future__ import annotations

import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from support.backends.programs import ROOT, require
from support.env import base_env
from support.process import RealProcess
from support.servers import free_port
from support.wait import wait_for

START = 20.0
STOP = 30.0
PORTS = ("grpc", "http", "health", "telemetry", "prometheus")


class Collector:
    """One collector; killed or stopped, it starts again with the same ports and directories."""

    def __init__(
        self,
        configs: Sequence[str | Path],
        directory: Path,
        env: Mapping[str, str],
        host: str,
        prefix: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> None:
        self._binary = require("otelcol")
        self._configs = [str(config) if ":" in str(config) else str(ROOT / config) for config in configs]
        self._arguments = list(arguments)
        self.directory = directory
        self.host = host
        self._prefix = prefix
        self.ports = {name: free_port() for name in PORTS}
        self._env = {**self._addresses(), **env}
        self._starts = 0
        directory.mkdir(parents=True, exist_ok=True)
        self.process = self.start()

    def _addresses(self) -> dict[str, str]:
        return {
            "OTLP_GRPC_ENDPOINT": self.grpc,
            "OTLP_HTTP_ENDPOINT": self.http,
            "HEALTH_ENDPOINT": f"{self.host}:{self.ports['health']}",
            "TELEMETRY_HOST": self.host,
            "TELEMETRY_PORT": str(self.ports["telemetry"]),
            "PROMETHEUS_EXPORTER_ENDPOINT": f"{self.host}:{self.ports['prometheus']}",
            "OTELCOL_QUEUE_DIR": str(self.directory / "queue"),
            "OTELCOL_FILE_DIR": str(self.directory / "files"),
        }

    @property
    def grpc(self) -> str:
        """host:port of its OTLP/gRPC receiver."""
        return f"{self.host}:{self.ports['grpc']}"

    @property
    def http(self) -> str:
        """host:port of its OTLP/HTTP receiver."""
        return f"{self.host}:{self.ports['http']}"

    @property
    def health(self) -> str:
        """URL of its health check."""
        return f"http://{self.host}:{self.ports['health']}/"

    @property
    def telemetry(self) -> str:
        """URL of the metrics about itself."""
        return f"http://{self.host}:{self.ports['telemetry']}/metrics"

    @property
    def prometheus(self) -> str:
        """URL of its prometheus exporter."""
        return f"http://{self.host}:{self.ports['prometheus']}/metrics"

    @property
    def pid(self) -> int:
        """The process id of the one that runs now."""
        return self.process.pid

    def log(self) -> str:
        """What all its starts have written."""
        logs = sorted(self.directory.glob("otelcol-*.log"))
        return "".join(log.read_text(errors="replace") for log in logs)

    def metrics(self) -> str:
        """Its own metrics, as text."""
        return _get(self.telemetry)

    def start(self) -> RealProcess:
        """Start it (again) and wait until it is healthy.

        Raises:
            NotInTimeError: it ended, or did not become healthy; its log is in the text.
        """
        (self.directory / "files").mkdir(exist_ok=True)
        self._starts += 1
        configs = (f"--config={config}" for config in self._configs)
        self.process = RealProcess(
            "otelcol",
            [*self._prefix, str(self._binary), *configs, *self._arguments],
            env=base_env(**self._env),
            log=self.directory / f"otelcol-{self._starts:02}.log",
            cwd=self.directory,
        )
        try:
            wait_for(self._healthy_or_gone, START, "the collector is healthy", self.process.tail)
            assert self.process.is_running(), self.process.tail()
        except BaseException:
            self.process.kill()
            raise
        return self.process

    def _healthy_or_gone(self) -> bool:
        if not self.process.is_running():
            return True
        try:
            return bool(_get(self.health))
        except (URLError, OSError):
            return False

    def kill(self) -> None:
        """SIGKILL, as a machine that dies."""
        self.process.kill()

    def stop(self) -> None:
        """SIGTERM, and wait for its end.

        Raises:
            AssertionError: it had to be killed.
        """
        stopped = self.process.stop(signal.SIGTERM, timeout=STOP)
        assert not stopped.killed, self.process.tail()


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=2) as response:
        return str(response.read().decode())


@contextmanager
def running_collector(
    configs: Sequence[str | Path],
    directory: Path,
    *,
    env: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
    prefix: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> Iterator[Collector]:
    """A collector with these configurations (paths below the project, or absolute), killed at the end.

    ``prefix`` comes before its command line and must leave the process in its place (``exec``), ``arguments``
    come behind.
    """
    collector = Collector(configs, directory, env or {}, host, prefix, arguments)
    try:
        yield collector
    finally:
        collector.kill()


def validate(
    configs: Sequence[str | Path], env: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> str:
    """What `otelcol validate` objects to: nothing when the configurations are fine together."""
    files = (f"--config={ROOT / config}" for config in configs)
    command = [str(require("otelcol")), "validate", *files, *arguments]
    said = subprocess.run(command, env=base_env(**(env or {})), capture_output=True, text=True, check=False)
    return said.stdout + said.stderr if said.returncode else ""
