"""Environments made without an index: our wheel, and links to what is installed beside the tests."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from uv import find_uv_bin

from support.env import base_env

ROOT = Path(__file__).parents[2]


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel with the build backend of the lock file."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def closure(*names: str) -> list[metadata.Distribution]:
    """Installed distributions and everything that they require here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        distribution = found[name] = metadata.distribution(name)
        waiting += [_name(line) for line in distribution.requires or [] if _applies(line)]
    return list(found.values())


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def _applies(requirement: str) -> bool:
    """Whether it is no extra and is there; what a marker leaves out is not installed beside us."""
    if "extra ==" in requirement:
        return False
    try:
        metadata.distribution(_name(requirement))
    except metadata.PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Place:
    """A virtual environment of its own."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, wheel: Path, *names: str) -> Place:
        """One with the wheel, its requirements, and the named distributions with theirs."""
        venv.create(folder, with_pip=False, symlinks=True)
        place = cls(folder)
        for distribution in closure("opentelemetry-distro", "opentelemetry-instrumentation", "wrapt", *names):
            place.link(distribution)
        command = [find_uv_bin(), "pip", "install", "--quiet", "--python", str(place.python)]
        subprocess.run(
            [*command, "--no-index", "--no-deps", str(wheel)], check=True, stdin=subprocess.DEVNULL
        )
        return place

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Its folder of packages."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def link(self, distribution: metadata.Distribution) -> None:
        """Put an installed distribution into it, file by file: some share a namespace package."""
        for file in distribution.files or []:
            if file.parts[0] == ".." or "__pycache__" in file.parts:
                continue
            target = self.packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.symlink_to(Path(str(file.locate())).resolve())

    def pretend(self, name: str, version: str) -> None:
        """Install an empty package under another's name and version."""
        (self.packages / name).mkdir()
        (self.packages / name / "__init__.py").touch()
        info = self.packages / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def run(self, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run code under `opentelemetry-instrument`; the spans go to the console."""
        start = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
        silent = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
        return subprocess.run(
            [str(self.python), "-c", start, str(self.python), "-c", code],
            env=base_env(**{"OTEL_TRACES_EXPORTER": "console", **silent, **env, "PYTHONPATH": ""}),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
