"""`make backends`: what is there is taken, what is missing is built once, what fails says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.env import TESTS

ROOT = TESTS.parent


class Machine:
    """A machine with these programs on its PATH and an empty cache."""

    def __init__(self, directory: Path) -> None:
        self._bin = directory / "bin"
        self._bin.mkdir()
        self.cache = directory / "cache"
        self.variables: dict[str, str] = {}

    def program(self, name: str, script: str) -> Path:
        """Install a shell script under this name."""
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def backends(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m backends`."""
        env = {"PATH": f"{self._bin}{os.pathsep}{os.defpath}", "XDG_CACHE_HOME": str(self.cache)}
        return subprocess.run(
            [sys.executable, "-m", "backends", *arguments],
            cwd=ROOT,
            env={**env, **self.variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def go(makes: str) -> str:
    """A `go` that answers `go env GOPROXY` and does this for the rest."""
    return f'[ "$1" = env ] && {{ echo https://proxy.example,direct; exit 0; }}\n{makes}'


def test_a_program_named_by_its_variable_comes_first(machine: Machine) -> None:
    """Also before one on PATH."""
    machine.program("jaeger", "exit 0")
    mine = machine.program("my-jaeger", "exit 0")
    machine.variables["JAEGER_BIN"] = str(mine)
    assert machine.backends("--which", "jaeger").stdout.strip() == str(mine)


def test_a_variable_that_names_nothing_is_an_error(machine: Machine) -> None:
    """Not silently another program."""
    machine.program("jaeger", "exit 0")
    machine.variables["JAEGER_BIN"] = "/nowhere/jaeger"
    asked = machine.backends("--which", "jaeger")
    assert asked.returncode == 1
    assert "JAEGER_BIN names /nowhere/jaeger" in asked.stderr


def test_a_program_on_path_is_taken_when_it_is_new_enough(machine: Machine) -> None:
    """Distributions have a Prometheus 2, which cannot take OTLP."""
    path = machine.program("prometheus", "echo prometheus, version 3.1.0")
    assert machine.backends("--which", "prometheus").stdout.strip() == str(path)
    machine.program("prometheus", "echo prometheus, version 2.42.0")
    asked = machine.backends("--which", "prometheus")
    assert asked.returncode == 1
    assert "older than 3" in asked.stderr


def test_a_missing_program_says_what_to_do(machine: Machine) -> None:
    """The command and the variable."""
    asked = machine.backends("--which", "otelcol")
    assert asked.returncode == 1
    assert "make backends" in asked.stderr
    assert "OTELCOL_BIN" in asked.stderr


def test_what_is_missing_is_built_once(machine: Machine) -> None:
    """Into the cache, with the proxy alone and a line of progress; the second call finds it."""
    machine.program("go", go("echo $GOPROXY >>../../../calls; touch out/jaeger"))
    first = machine.backends("jaeger")
    assert first.returncode == 0, first.stderr
    assert "jaeger: building" in first.stderr
    assert machine.backends("jaeger").returncode == 0
    assert (machine.cache / "calls").read_text().split() == ["https://proxy.example"]
    (built,) = machine.cache.glob("otel-taskqueue/jaeger-*/jaeger")
    assert machine.backends("--which", "jaeger").stdout.strip() == str(built)


def test_a_build_that_fails_leaves_nothing_and_says_why(machine: Machine) -> None:
    """The last lines of what the compiler wrote."""
    machine.program("go", go("touch out/jaeger; echo no such module >&2; exit 3"))
    failed = machine.backends("jaeger")
    assert failed.returncode == 1
    assert "no such module" in failed.stderr
    assert not list(machine.cache.glob("otel-taskqueue/jaeger-*/*"))


def test_an_unknown_name_lists_the_known_ones(machine: Machine) -> None:
    """A typing error is no silent success."""
    asked = machine.backends("jeager")
    assert asked.returncode == 2
    assert "jaeger" in asked.stderr
