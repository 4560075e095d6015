"""A real Kafka broker of one node (KRaft) on free ports."""

from __future__ import annotations

import shutil
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import procfs
from support.backends.programs import require
from support.env import base_env
from support.process import RealProcess
from support.servers import free_port, missing
from support.wait import wait_for

START_SECONDS = 120.0
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=2
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
"""
# Everything from WARN on goes to the process's output.
LOGGING = """\
<Configuration status="ERROR">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c %m%n"/></Console></Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


class Kafka:
    """One broker; killed or stopped, it starts again with the same port and data."""

    def __init__(self, directory: Path) -> None:
        self._jars = require("kafka")
        self._java = shutil.which("java") or missing("java")
        self._directory = directory
        self._settings = directory / "server.properties"
        self._logging = directory / "log4j2.xml"
        self.port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        self._logging.write_text(LOGGING)
        self._settings.write_text(
            SETTINGS.format(port=self.port, controller=free_port(), data=directory / "data")
        )
        self._format()
        self.process = self.start()

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> RealProcess:
        """Start it (again) and wait until it takes connections.

        Raises:
            NotInTimeError: it does not.
        """
        self.process = RealProcess(
            "kafka",
            self._command("kafka.Kafka", str(self._settings)),
            env=base_env(),
            log=self._directory / "kafka.log",
            cwd=self._directory,
        )
        try:
            wait_for(self._listens_or_gone, START_SECONDS, "kafka listens", self.process.tail)
            assert self.process.is_running(), self.process.tail()
        except BaseException:
            self.process.kill()
            raise
        return self.process

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self.process.stop(signal.SIGTERM)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """In the block it accepts connections and answers nothing (SIGSTOP); then it goes on where it was."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _listens_or_gone(self) -> bool:
        return not self.process.is_running() or procfs.listens(self.process.pid, self.port)

    def _format(self) -> None:
        """Give the data directory its cluster's id, without which a broker does not start."""
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = self._command("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._settings))
        subprocess.run(
            command,
            env=base_env(),
            cwd=self._directory,
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
        )

    def _command(self, *arguments: str) -> list[str]:
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        logging = f"-Dlog4j2.configurationFile={self._logging}"
        return [self._java, *options, logging, "-cp", f"{self._jars}/*", *arguments]


@contextmanager
def running_kafka(directory: Path) -> Iterator[Kafka]:
    """A broker with its data below ``directory``, killed at the end."""
    broker = Kafka(directory)
    try:
        yield broker
    finally:
        broker.kill()
