"""What may not be in the tree, and what must agree with each other in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from support.places import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*"))
MACHINE_PATHS = re.compile(r"(?<![\w.~-])/(?:root|home/\w+|work)/")
TEXT_LONGER_THAN_THIS_IS_DATA = 1_000_000


def files() -> list[Path]:
    """Every file that git knows or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_has_no_address(lock: Path) -> None:
    """Where packages come from is the business of the machine."""
    text = lock.read_text()
    assert [] == re.findall(
        r"\w+://\S*|(?m:^\s*-i\b.*|^\s*--(?:extra-)?index-url.*|^\s*--find-links.*)", text
    )


@pytest.mark.parametrize(
    "lock", [lock for lock in LOCKS if lock.suffix == ".txt"], ids=lambda lock: lock.name
)
def test_a_lock_file_pins_every_package_by_version_and_hash(lock: Path) -> None:
    """pip refuses the whole file when one package lacks its hash."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text())
    loose = [entry.splitlines()[0] for entry in entries if not re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+", entry)]
    assert ([], []) == (loose, [entry for entry in entries if "--hash=sha256:" not in entry])


def test_the_lowest_lock_has_the_lower_bounds_of_the_metadata() -> None:
    """What `nox -s lowest` proves is what pip is told."""
    metadata = (ROOT / "pyproject.toml").read_text()
    for pin in (ROOT / "requirements" / "floor.in").read_text().split():
        name, _, version = pin.partition("==")
        bound = re.search(rf'"{name}>=([\w.]+)', metadata)
        assert bound is not None, name
        assert re.fullmatch(rf"{re.escape(bound[1])}(\.0)*", version), pin


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """The tree works wherever it is cloned."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files()
        if path.stat().st_size < TEXT_LONGER_THAN_THIS_IS_DATA and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert [] == found


def test_every_link_in_the_documentation_leads_somewhere() -> None:
    """Relative links of all Markdown files."""
    pages = [path for path in files() if path.suffix == ".md"]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
    ]
    assert len(links) > 3
    assert [] == [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()]
