"""Text which is made from code: tables for terminals and for documentation, and the staleness check."""

from __future__ import annotations

import functools
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

_GAP = "  "
_SMALLEST_LAST = 30


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """A table for a terminal of this width: the last column wraps, or goes below the others."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)][:-1]
    before = sum(widths) + len(_GAP) * len(widths)
    is_narrow = width - before < _SMALLEST_LAST
    lines = [_line(head[:-1] if is_narrow else head, widths)]
    for row in rows:
        indent = 4 if is_narrow else before
        wrapped = textwrap.wrap(row[-1], max(_SMALLEST_LAST, width - indent)) or [""]
        first = [] if is_narrow else wrapped[:1]
        lines.append(_line([*row[:-1], *first], widths))
        lines += [" " * indent + part for part in wrapped[len(first) :]]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(_padded(cells, widths)).rstrip()


def _padded(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for position, cell in enumerate(cells):
        yield cell.ljust(widths[position]) if position < len(widths) else cell


def check(path: str, wanted: str, command: str) -> int:
    """Exit status 0 when the file holds exactly this text; else say how to renew it."""
    file = Path(path)
    if file.is_file() and file.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{path} is stale: {command} --markdown > {path}", file=sys.stderr)
    return 1


def add_page(parser: argparse.ArgumentParser, command: str, page: Callable[[], str]) -> None:
    """A command that prints a page of the documentation, or checks the file that holds it."""
    parser.add_argument(
        "--markdown", action="store_true", help="the page of the documentation (as without it)"
    )
    parser.add_argument("--check", metavar="FILE", help="fail when FILE is not that page")
    parser.set_defaults(run=functools.partial(_print_or_check, command, page))


def _print_or_check(command: str, page: Callable[[], str], arguments: argparse.Namespace) -> int:
    if arguments.check:
        return check(arguments.check, page(), command)
    print(page(), end="")
    return 0
