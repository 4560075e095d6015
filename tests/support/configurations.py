"""The collector configurations as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from support.env import TESTS

ROOT = TESTS.parent
FOLDER = ROOT / "collector-config"
FILES = sorted(FOLDER.rglob("*.yaml"))
#: What is laid over another configuration than gateway.yaml, or lies beside it.
BASES = {"dual.yaml": "gateway.yaml", "resample.yaml": "sampling.yaml"}
OVERLAYS = [path for path in FILES if path.parent != FOLDER or path.name in BASES]
WHOLE = [path for path in FILES if path not in OVERLAYS]
KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")


def name(path: Path) -> str:
    """The file's name below collector-config."""
    return str(path.relative_to(FOLDER))


def base(overlay: Path) -> Path:
    """The configuration that an overlay is started with."""
    return FOLDER / BASES.get(overlay.name, "gateway.yaml")


def load(path: Path) -> dict[str, Any]:
    """The file's document."""
    document = yaml.safe_load(path.read_text())
    assert isinstance(document, dict)
    return document


def components(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, type (without the name after the slash) and settings of each."""
    for kind in KINDS:
        for full, settings in (document.get(kind) or {}).items():
            yield kind, full.split("/")[0], settings or {}
