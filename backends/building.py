"""Build one source into the cache: in a copy of its folder, all or nothing, one builder at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from backends.finding import HERE, cached

if TYPE_CHECKING:
    from backends.programs import Source

BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.158.0"
SYSTEM_PACKAGES = HERE.parent / "scripts" / "system-packages"
LINES_OF_A_FAILURE = 25

Say = Callable[[str], None]


class BuildError(Exception):
    """It could not be built; the text says why, and what to do."""


def build(source: Source, say: Say) -> None:
    """Build what is missing of this source, telling ``say`` how it goes on.

    Raises:
        BuildError: a tool is missing, or a command failed; its last lines are in the text.
    """
    if absent := [tool for tool in source.needs if shutil.which(tool) is None]:
        message = f"{source.name} needs {' and '.join(absent)}: install it, or name the programs by variables"
        raise BuildError(message)
    if source.recipe == "system":
        _install(source)
        return
    target = cached(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target), _workshop(source, target) as (folder, log):
        if not target.exists():
            _Run(source, folder, log, say).all()
            (folder / "out").rename(target)


def _install(source: Source) -> None:
    if subprocess.run([SYSTEM_PACKAGES, *source.targets], check=False).returncode:
        message = f"{source.name}: {' '.join(source.targets)} could not be installed"
        raise BuildError(message)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Two test runs that start together must not build the same twice."""
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _workshop(source: Source, target: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{source.name}-") as name:
        folder = Path(name) / "source"
        shutil.copytree(HERE / source.name, folder)
        (folder / "out").mkdir()
        with (Path(name) / "log").open("w+b") as log:
            yield folder, log


def _commands(source: Source) -> list[list[str]]:
    if source.recipe == "collector":
        return [["go", "run", BUILDER, "--config", "manifest.yaml"]]
    if source.recipe == "go":
        return [["go", "build", "-o", "out/", *source.targets]]
    copy = "dependency:copy-dependencies"
    return [["mvn", "--batch-mode", "--quiet", copy, f"-DoutputDirectory=out/{source.name}"]]


class _Run:
    """The commands of one build, with a line now and then for whoever waits."""

    def __init__(self, source: Source, folder: Path, log: IO[bytes], say: Say) -> None:
        self._source = source
        self._folder = folder
        self._log = log
        self._say = say
        self._started = time.monotonic()

    def all(self) -> None:
        for command in _commands(self._source):
            self._one(command)
        self._say(f"{self._source.name}: built in {self._seconds():.0f} s")

    def _one(self, command: list[str]) -> None:
        output = {"stdin": subprocess.DEVNULL, "stdout": self._log, "stderr": self._log}
        with subprocess.Popen(command, cwd=self._folder, env=_environment(), **output) as process:
            while process.poll() is None:
                self._wait(process)
        if process.returncode:
            raise BuildError(self._failure(command))

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        self._say(
            f"{self._source.name}: building, {self._seconds():.0f} s of about {self._source.usual} s ..."
        )
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            return

    def _failure(self, command: list[str]) -> str:
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").splitlines()[-LINES_OF_A_FAILURE:]
        return "\n".join((f"{self._source.name}: `{' '.join(command)}` failed:", *last))

    def _seconds(self) -> float:
        return time.monotonic() - self._started


def _environment() -> Mapping[str, str]:
    """Modules from the proxy alone (what it has not is a clear error), our copy's go.mod may be completed."""
    if shutil.which("go") is None:
        return os.environ
    proxy = subprocess.run(
        ["go", "env", "GOPROXY"], capture_output=True, text=True, check=True
    ).stdout.strip()
    flags = " ".join(filter(None, (os.environ.get("GOFLAGS"), "-buildvcs=false")))
    return {
        **os.environ,
        "GOPROXY": proxy.removesuffix("direct").rstrip(",|") or proxy,
        "GOFLAGS": f"{flags} -mod=mod",
        "CGO_ENABLED": "0",
    }
