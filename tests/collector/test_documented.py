"""What the pages say about starting a collector is true of the files; no collector is needed to see it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.backends.documented import Start, starts, starts_of_header
from support.configurations import FILES, ROOT, WHOLE, base, name

DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
BACKENDS = [page for page in PAGES if page.startswith("backends/")]
COMMANDS = [(page, start) for page in PAGES for start in starts(page)]


@pytest.mark.parametrize(("page", "start"), COMMANDS, ids=[f"{p}-{s.configs[-1]}" for p, s in COMMANDS])
def test_a_command_names_files_and_variables_that_exist(page: str, start: Start) -> None:
    """Each configuration is there, and reads each variable that the command sets."""
    texts = [(ROOT / config).read_text() for config in start.configs]
    read = set(re.findall(r"\$\{env:([A-Z_]+)", "".join(texts)))
    assert set(start.variables) <= read, page


@pytest.mark.parametrize("page", ["collector.md", "kafka.md", "two-tiers.md", "logs.md", *BACKENDS])
def test_a_page_has_commands(page: str) -> None:
    """Each that is about a collector shows how to start it, in a form which the tests read."""
    assert starts(page)


@pytest.mark.parametrize("path", FILES, ids=map(name, FILES))
def test_a_header_has_the_command_that_starts_the_file(path: Path) -> None:
    """With what it is laid over."""
    (start,) = starts_of_header(name(path))
    under = [] if path in WHOLE else [base(path)]
    assert [ROOT / config for config in start.configs] == [*under, path]


@pytest.mark.parametrize("path", FILES, ids=map(name, FILES))
def test_a_page_has_the_command_of_the_header(path: Path) -> None:
    """There is one page at least which starts the file in the same way."""
    (start,) = starts_of_header(name(path))
    assert start in [said for _page, said in COMMANDS]
