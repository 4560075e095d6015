"""Private brokers on free ports: started by the tests, known by pid, stopped by pid."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from support import procfs
from support.certificates import Certificates
from support.env import base_env, must_have_everything
from support.process import RealProcess
from support.wait import NotInTimeError, wait_for

# Debian's `rabbitmq-server` on PATH is a wrapper for root that changes the user; the script
# behind it runs as anybody.
RABBIT_SCRIPTS = ("/usr/lib/rabbitmq/bin/rabbitmq-server",)
START_ATTEMPTS = 3
T = TypeVar("T")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing(what: str) -> NoReturn:
    """Skip visibly, or fail where everything must be there."""
    reason = f"{what} is not installed (OTEL_TASKQUEUE_REQUIRE_ALL=1 makes this a failure)"
    if must_have_everything():
        pytest.fail(reason)
    pytest.skip(reason)


def _find(*names: str) -> str | None:
    for name in names:
        if found := shutil.which(name):
            return found
    return None


class RedisServer:
    """One redis-server with a password, without persistence; with certificates it speaks TLS alone."""

    def __init__(self, directory: Path, *, tls: Certificates | None = None) -> None:
        self._binary = _find("redis-server") or missing("redis-server")
        self._directory = directory
        self._tls = tls
        self.password = f"redis-{secrets.token_hex(8)}"
        self.port, self.process = _start_on_free_port(self._start, timeout=10.0)

    def start_again(self) -> None:
        """Start a server on the same port, after `stop`."""
        self.process = self._start(self.port)
        wait_for(
            lambda: procfs.listens(self.process.pid, self.port), 10.0, "redis listens", self.process.tail
        )

    def _start(self, port: int) -> RealProcess:
        return RealProcess(
            "redis-server",
            [
                *[self._binary, "--bind", "127.0.0.1", *self._ports(port)],
                *["--requirepass", self.password, "--dir", str(self._directory)],
                *["--save", "", "--appendonly", "no"],
            ],
            env=base_env(),
            log=self._directory / "redis.log",
            cwd=self._directory,
        )

    def _ports(self, port: int) -> list[str]:
        if self._tls is None:
            return ["--port", str(port)]
        return [
            *["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"],
            *["--tls-cert-file", str(self._tls.certificate), "--tls-key-file", str(self._tls.key)],
            *["--tls-ca-cert-file", str(self._tls.authority)],
        ]

    @property
    def host(self) -> str:
        """The address it listens on."""
        return "127.0.0.1"

    def url(self, database: int = 0) -> str:
        """Its URL, password included."""
        scheme = "rediss" if self._tls is not None else "redis"
        return f"{scheme}://:{self.password}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop this server and no other."""
        self.process.kill()


class RabbitServer:
    """One RabbitMQ node of its own: name, data, ports and port mapper belong to it alone."""

    def __init__(
        self,
        directory: Path,
        *,
        tls: Certificates | None = None,
        management: bool = False,
        metrics: bool = False,
    ) -> None:
        binary = _find(*RABBIT_SCRIPTS, "rabbitmq-server") or missing("rabbitmq-server")
        epmd = _find("epmd") or missing("epmd (Erlang)")
        self.user = "jobs"
        self.password = f"rabbit-{secrets.token_hex(8)}"
        self._directory = directory
        self._tls = tls
        self.management_port = free_port() if management else 0
        #: Where its prometheus plugin listens, when it was asked for.
        self.metrics_port = free_port() if metrics else 0
        self._epmd_port, self._epmd = _start_on_free_port(
            lambda port: RealProcess(
                "epmd",
                [epmd, "-port", str(port), "-address", "127.0.0.1"],
                env=base_env(),
                log=directory / "epmd.log",
            ),
            timeout=10.0,
        )
        try:
            self.port, self.process = _start_on_free_port(
                lambda port: self._start_node(binary, port), timeout=120.0
            )
        except BaseException:
            self._epmd.kill()
            raise

    @property
    def host(self) -> str:
        """The address it listens on."""
        return "127.0.0.1"

    def url(self) -> str:
        """Its URL, password included."""
        scheme = "amqps" if self._tls is not None else "amqp"
        return f"{scheme}://{self.user}:{self.password}@127.0.0.1:{self.port}//"

    @property
    def management_url(self) -> str:
        """Where the management API listens, when it was asked for."""
        return f"http://127.0.0.1:{self.management_port}"

    def stop(self) -> None:
        """Stop this node and its port mapper; the data is thrown away, so no farewell."""
        self.process.kill()
        self._epmd.kill()

    def _start_node(self, binary: str, port: int) -> RealProcess:
        home = self._directory / f"node-{port}"
        home.mkdir()
        (home / "rabbitmq.conf").write_text(
            f"default_user = {self.user}\ndefault_pass = {self.password}\n"
            f"{self._listeners(port)}log.console = true\nlog.file = false\n"
        )
        chosen = {"rabbitmq_management": self.management_port, "rabbitmq_prometheus": self.metrics_port}
        plugins = ",".join(name for name, port in chosen.items() if port)
        (home / "enabled_plugins").write_text(f"[{plugins}].\n")
        settings = {
            "NODENAME": f"taskqueue-{os.getpid()}-{port}@localhost",
            "DIST_PORT": str(free_port()),
            "CONFIG_FILE": str(home / "rabbitmq.conf"),
            "ADVANCED_CONFIG_FILE": str(home / "none.config"),
            "CONF_ENV_FILE": str(home / "none.conf"),
            "ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "MNESIA_BASE": str(home / "mnesia"),
            "LOG_BASE": str(home / "log"),
            "PID_FILE": str(home / "pid"),
            # Two schedulers are enough for the tests and leave the cores to the workers.
            "SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }
        environment = {f"RABBITMQ_{key}": value for key, value in settings.items()}
        return RealProcess(
            "rabbitmq-server",
            [binary],
            env=base_env(
                **environment,
                HOME=str(home),
                ERL_EPMD_PORT=str(self._epmd_port),
                # Makes the script replace itself by the node, so that our pid is the node's.
                RUNNING_UNDER_SYSTEMD="true",
            ),
            log=home / "node.log",
            cwd=home,
        )

    def _listeners(self, port: int) -> str:
        lines = f"listeners.tcp.default = 127.0.0.1:{port}\n"
        if self._tls is not None:
            lines = (
                f"listeners.tcp = none\nlisteners.ssl.default = 127.0.0.1:{port}\n"
                f"ssl_options.cacertfile = {self._tls.authority}\n"
                f"ssl_options.certfile = {self._tls.certificate}\nssl_options.keyfile = {self._tls.key}\n"
                "ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"
            )
        if self.management_port:
            lines += f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.management_port}\n"
        if self.metrics_port:
            lines += f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {self.metrics_port}\n"
        return lines


def _start_on_free_port(start: Callable[[int], RealProcess], timeout: float) -> tuple[int, RealProcess]:
    """The port counts as served only when the very process that we started listens on it."""

    def attempt() -> tuple[RealProcess, int]:
        port = free_port()
        return start(port), port

    process, port = started(attempt, lambda process, port: procfs.listens(process.pid, port), timeout)
    return port, process


def started(
    start: Callable[[], tuple[RealProcess, T]], is_ready: Callable[[RealProcess, T], bool], timeout: float
) -> tuple[RealProcess, T]:
    """Start a server on free ports; somebody may take one first, so try again.

    Args:
        start: starts the process; its second answer is what ``is_ready`` needs to know.
        is_ready: asked until it is, or the process has ended.
        timeout: seconds for each attempt.

    Raises:
        NotInTimeError: it did not start, with its output.
    """
    output = ""
    for _ in range(START_ATTEMPTS):
        process, about = start()
        try:
            wait_for(
                lambda process=process, about=about: is_ready(process, about) or not process.is_running(),
                timeout,
                f"{process.name} is ready",
                process.tail,
            )
        except BaseException:
            process.kill()
            raise
        if process.is_running():
            return process, about
        output = process.tail()
        process.kill()
    message = f"no server after {START_ATTEMPTS} attempts\n{output}"
    raise NotInTimeError(message)
