"""What the pages say about starting a collector is true of the files; no collector is needed to see it."""

from __future__ import annotations

import re

import pytest

from support.backends.documented import Start, starts
from support.configurations import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
COMMANDS = [(page, start) for page in PAGES for start in starts(page)]


@pytest.mark.parametrize(("page", "start"), COMMANDS, ids=[f"{p}-{s.configs[-1]}" for p, s in COMMANDS])
def test_a_command_names_files_and_variables_that_exist(page: str, start: Start) -> None:
    """Each configuration is there, and reads each variable that the command sets."""
    texts = [(ROOT / config).read_text() for config in start.configs]
    read = set(re.findall(r"\$\{env:([A-Z_]+)", "".join(texts)))
    assert set(start.variables) <= read, page


def test_commands_are_found() -> None:
    """The check sees what it is to check."""
    assert {"kafka.md", "logs.md", "backends/loki.md"} <= {page for page, _start in COMMANDS}
