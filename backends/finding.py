"""Where a program is: the one that a variable names, one on PATH, or the one built here before."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.programs import Program, Source

HERE = Path(__file__).resolve().parent
HASH_LENGTH = 12
# Where services are installed, and not on everybody's PATH.
SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class NotFoundError(Exception):
    """The program is not here; the text says what to do."""


def find(program: Program) -> Path:
    """The program's file (of Kafka: the folder of its jars).

    Raises:
        NotFoundError: it is nowhere, or what the variable names does not exist.
    """
    if named := os.environ.get(program.variable):
        return _named(program, Path(named))
    found = next(filter(None, map(_on_path, program.on_path)), None)
    if found is not None and _new_enough(program, found):
        return found
    built = cached(program.source) / program.name
    if built.exists():
        return built
    raise NotFoundError(_advice(program, found))


def cached(source: Source) -> Path:
    """Where this source is built to: another folder whenever a file of it changes."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "otel-taskqueue" / f"{source.name}-{_fingerprint(source)}"


def _fingerprint(source: Source) -> str:
    digest = hashlib.sha256(repr(source.targets).encode())
    folder = HERE / source.name
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:HASH_LENGTH]


def _named(program: Program, path: Path) -> Path:
    if path.exists():
        return path
    message = f"{program.variable} names {path}, which does not exist"
    raise NotFoundError(message)


def _on_path(name: str) -> Path | None:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_PATH))
    found = shutil.which(name, path=path)
    return Path(found) if found else None


def _new_enough(program: Program, path: Path) -> bool:
    if not program.lowest:
        return True
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", said.stdout + said.stderr)
    return version is not None and tuple(map(int, version.groups())) >= program.lowest


def _advice(program: Program, found: Path | None) -> str:
    lowest = ".".join(map(str, program.lowest))
    seen = f"{found} is older than {lowest}" if found else f"{program.name} is not on PATH"
    return f"{seen}, {program.variable} is not set, and it is not built yet: run `make backends`"
