"""What the demo needs, and what it says when that is not there."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from otel_taskqueue.cli import main

if TYPE_CHECKING:
    import pytest

find_spec = importlib.util.find_spec


def test_each_missing_piece_is_one_sentence_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not an ImportError."""
    absent = {"rich", "opentelemetry.distro"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find_spec(name))

    assert 1 == main(["demo"])

    lines = capsys.readouterr().err.splitlines()
    assert [
        "rich (what draws the trees)",
        "opentelemetry.distro (what `opentelemetry-instrument` sets up)",
    ] == [line.removesuffix(" is missing: pip install 'otel-taskqueue[demo]'") for line in lines]


def test_a_missing_parent_package_is_a_missing_piece(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`find_spec` raises for the parts of a package that is not there."""

    def without_exporters(name: str) -> object:
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError(name)
        return find_spec(name)

    monkeypatch.setattr(importlib.util, "find_spec", without_exporters)

    assert 1 == main(["demo"])
    assert "the OTLP exporter" in capsys.readouterr().err
