"""What the pages about trace backends say exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_taskqueue import semconv
from support.backends.programs import ROOT

PAGES = sorted((ROOT / "docs" / "backends").glob("*.md"))
TRACES = [page for page in PAGES if page.stem in {"jaeger", "tempo"}]
KNOWN = {value for value in vars(semconv).values() if isinstance(value, str)}


@pytest.mark.parametrize("page", TRACES, ids=lambda page: page.stem)
def test_a_page_names_only_what_is_emitted(page: Path) -> None:
    """Attributes and events of this package, read from semconv.py."""
    named = set(re.findall(r"\b(?:taskqueue|messaging)\.[a-z_.]*[a-z]", page.read_text()))
    assert len(named) > 3
    assert set() == named - KNOWN


@pytest.mark.parametrize("page", TRACES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_name_files_of_the_tree(page: Path) -> None:
    """Seen from the project's root."""
    files = re.findall(r"--config (\S+)", page.read_text())
    assert files
    assert [] == [name for name in files if not (ROOT / name).is_file()]
