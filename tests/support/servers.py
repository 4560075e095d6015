"""Private brokers on free ports: started by the tests, known by pid, stopped by pid."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from support import procfs
from support.env import base_env, must_have_everything
from support.process import RealProcess
from support.wait import NotInTimeError, wait_for

# Debian's `rabbitmq-server` on PATH is a wrapper for root that changes the user; the script
# behind it runs as anybody.
RABBIT_SCRIPTS = ("/usr/lib/rabbitmq/bin/rabbitmq-server",)
START_ATTEMPTS = 3


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
    """One redis-server with a password, without persistence."""

    def __init__(self, directory: Path) -> None:
        binary = _find("redis-server") or missing("redis-server")
        self.password = f"redis-{secrets.token_hex(8)}"
        self.port, self.process = _start_on_free_port(
            lambda port: RealProcess(
                "redis-server",
                [
                    *[binary, "--port", str(port), "--bind", "127.0.0.1"],
                    *["--requirepass", self.password, "--dir", str(directory)],
                    *["--save", "", "--appendonly", "no"],
                ],
                env=base_env(),
                log=directory / "redis.log",
                cwd=directory,
            ),
            timeout=10.0,
        )

    @property
    def host(self) -> str:
        """The address it listens on."""
        return "127.0.0.1"

    def url(self, database: int = 0) -> str:
        """Its URL, password included."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop this server and no other."""
        self.process.kill()


class RabbitServer:
    """One RabbitMQ node of its own: name, data, ports and port mapper belong to it alone."""

    def __init__(self, directory: Path) -> None:
        binary = _find(*RABBIT_SCRIPTS, "rabbitmq-server") or missing("rabbitmq-server")
        epmd = _find("epmd") or missing("epmd (Erlang)")
        self.user = "jobs"
        self.password = f"rabbit-{secrets.token_hex(8)}"
        self._directory = directory
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
                lambda port: self._start_node(binary, port), timeout=60.0
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
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self.port}//"

    def stop(self) -> None:
        """Stop this node and its port mapper; the data is thrown away, so no farewell."""
        self.process.kill()
        self._epmd.kill()

    def _start_node(self, binary: str, port: int) -> RealProcess:
        home = self._directory / f"node-{port}"
        home.mkdir()
        (home / "rabbitmq.conf").write_text(
            f"default_user = {self.user}\ndefault_pass = {self.password}\n"
            f"listeners.tcp.default = 127.0.0.1:{port}\nlog.console = true\nlog.file = false\n"
        )
        (home / "enabled_plugins").write_text("[].\n")
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


def _start_on_free_port(start: Callable[[int], RealProcess], timeout: float) -> tuple[int, RealProcess]:
    """Start a server on a free port; somebody may take the port first, so try again.

    The port counts as served only when the very process that we started listens on it.
    """
    output = ""
    for _ in range(START_ATTEMPTS):
        port = free_port()
        process = start(port)
        try:
            wait_for(
                lambda port=port, process=process: (
                    procfs.listens(process.pid, port) or not process.is_running()
                ),
                timeout,
                f"{process.name} listens on {port}",
                process.tail,
            )
        except BaseException:
            process.kill()
            raise
        if process.is_running():
            return port, process
        output = process.tail()
        process.kill()
    message = f"no server after {START_ATTEMPTS} attempts\n{output}"
    raise NotInTimeError(message)
