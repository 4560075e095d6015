"""The runs: tests, lint, types, the lowest versions, and the matrix of what we stand for.

`nox -s matrix` takes words that choose rows: `nox -s matrix -- celery 3.10`, `nox -s matrix -- rq==2.6.1`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import nox
from uv import find_uv_bin

nox.needs_version = ">=2025.2.9"
nox.options.download_python = "never"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False
# The Pythons of pyenv themselves: its shims refuse every version that is not switched on.
_PYENV = map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin"), reverse=True))
os.environ["PATH"] = os.pathsep.join([*_PYENV, os.environ["PATH"]])

# What we stand for. The queues are not crossed: one application has one of them.
CELERY = ["5.3.6", "5.4.0", "5.5.3", "5.6.3", "5.7.0"]
RQ = ["1.16.2", "2.0.0", "2.6.0", "2.6.1", "2.7.0", "2.12.0"]  # methods moved in 2.6.1
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
ENDS = ("3.10", "3.13")  # every version of a library runs here, the newest one on every Python

# What a library's own release decides about: not held at the versions of our lock file.
FAMILY = {
    "celery": {"celery", "kombu", "billiard", "amqp", "vine", "redis", "rq"},
    "rq": {"rq", "redis", "celery", "kombu"},
}
# kombu's own extra too: one that is younger than Celery refuses the redis which old Celery asks for.
WITH = {"celery": ["celery[redis]=={}", "kombu[redis]"], "rq": ["rq=={}"]}
# RQ's SpawnWorker writes the connection's arguments into a script: before 2.9.1 not those of redis 8.
WITH_OLDER_RQ = [*WITH["rq"], "redis<8"]
PYTEST = ["--numprocesses", "2", "--dist", "loadgroup", "--maxfail", "20", "-p", "no:cacheprovider"]
NOT_FOUND = "untested: no such Python here"


def _find_python(version: str) -> str | None:
    """An interpreter of that version which runs (a pyenv shim of an inactive one does not)."""
    found = shutil.which(f"python{version}")
    runs = found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0  # noqa: S603
    return found if runs else None


class Row(NamedTuple):
    """One run of the matrix."""

    library: str
    version: str
    python: str

    @property
    def name(self) -> str:
        """As it is shown and chosen."""
        return f"{self.library}=={self.version} on Python {self.python}"

    def is_chosen(self, words: list[str]) -> bool:
        """Whether every word names the library, the version or the Python."""
        names = (self.library, self.version, self.python, f"{self.library}=={self.version}")
        return all(word in names for word in words)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests with the versions of the lock file."""
    _install_locked(session, "requirements/dev.txt")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and import contracts."""
    _install_locked(session, "requirements/dev.txt")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    _install_locked(session, "requirements/dev.txt")
    session.run("pyright")


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run unit and conformance tests with the lowest versions that pyproject.toml allows."""
    _install_locked(session, "requirements/lowest.txt")
    session.run("pytest", *PYTEST, *(session.posargs or ["tests/unit", "tests/conformance"]))


@nox.session(venv_backend="none")
def matrix(session: nox.Session) -> None:
    """Run the unit and conformance tests of one room with each version of its library."""
    results: dict[Row, str] = {}
    for row in _rows():
        if row.is_chosen(session.posargs):
            results[row] = _run(session, row)
            session.log(f"{row.name}: {results[row]}")
    print(_table(results))
    if failed := [row.name for row, result in results.items() if result.startswith("failed")]:
        session.error(f"failed: {', '.join(failed)}")


def _rows() -> list[Row]:
    return [
        Row(library, version, python)
        for library, versions in (("celery", CELERY), ("rq", RQ))
        for version in versions
        for python in PYTHONS
        if python in ENDS or version == versions[-1]
    ]


def _run(session: nox.Session, row: Row) -> str:
    interpreter = _find_python(row.python)
    if interpreter is None:
        return NOT_FOUND
    folder = Path(".nox", "matrix", f"{row.library}-{row.version}-py{row.python}").absolute()
    started = time.monotonic()
    try:
        _make_environment(session, row, interpreter, folder)
    except nox.command.CommandFailed:
        return "failed: cannot be installed"
    report = folder / "pytest.txt"
    with report.open("w") as output:
        command = [str(folder / "bin" / "python"), "-m", "pytest", *PYTEST, *_selection(row)]
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode  # noqa: S603
    closing = report.read_text().rstrip().rpartition("\n")[2].strip("= ")
    word = "passed" if status == 0 else f"failed ({report})"
    return f"{word}: {closing} [{time.monotonic() - started:.0f} s]"


def _selection(row: Row) -> list[str]:
    """The tests of one room: its unit tests, and its conformance scenarios on every pool, on Redis."""
    units = [f"tests/unit/{row.library}_room", "tests/unit/core"]
    return [*units, "tests/conformance", "-k", f"({row.library}- and -redis) or {row.library}_room or core"]


def _make_environment(session: nox.Session, row: Row, interpreter: str, folder: Path) -> None:
    held = folder.parent / f"held-{row.library}.txt"
    session.run(
        find_uv_bin(), "venv", "--quiet", "--clear", "--python", interpreter, str(folder), external=True
    )
    pins = [pin for pin in _pins() if pin.partition("==")[0] not in FAMILY[row.library]]
    held.write_text("\n".join(pins))
    names = WITH_OLDER_RQ if row.library == "rq" and row.version != RQ[-1] else WITH[row.library]
    wanted = [name.format(row.version) for name in names]
    session.run(
        *(find_uv_bin(), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")),
        *("--constraint", str(held), "--group", "test", "--editable", ".[celery,rq]", *wanted),
        external=True,
    )


def _pins() -> list[str]:
    """The exact versions of the lock file, without their hashes."""
    lines = Path("requirements/dev.txt").read_text().splitlines()
    return [line.removesuffix("\\").strip() for line in lines if re.match(r"[a-z0-9]", line)]


def _table(results: dict[Row, str]) -> str:
    lines = ["", "| library | version | Python | result |", "|---|---|---|---|"]
    lines += [
        f"| {row.library} | {row.version} | {row.python} | {result} |" for row, result in results.items()
    ]
    return "\n".join(lines)


def _install_locked(session: nox.Session, lock: str) -> None:
    session.install("--require-hashes", "--requirement", lock)
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
