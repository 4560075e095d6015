"""The commands that a page shows, so that the tests run the same."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise

from support.backends.programs import ROOT

_BLOCK = re.compile(r"^```shell\n(.*?)^```", re.MULTILINE | re.DOTALL)
_STARTS = re.compile(r"\botelcol\S* .*--config")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True, slots=True)
class Start:
    """How a page starts a collector: its configurations, other arguments, variables."""

    configs: tuple[str, ...]
    arguments: tuple[str, ...]
    variables: tuple[str, ...]


def start_of_collector(page: str, config: str) -> Start:
    """How a page below docs starts a collector whose last configuration is ``config``; its first command.

    Raises:
        AssertionError: there is none.
    """
    found = [start for start in starts(page) if start.configs[-1].endswith(f"/{config}")]
    assert found, f"{page} starts no collector with {config}"
    return found[0]


def starts(page: str) -> list[Start]:
    """Every command of a page that starts a collector."""
    blocks = _BLOCK.findall((ROOT / "docs" / page).read_text())
    commands = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [_start(shlex.split(command)) for command in commands if _STARTS.search(command)]


def _start(words: list[str]) -> Start:
    behind = words[[word.startswith("otelcol") for word in words].index(True) + 1 :]
    configs = [after for word, after in pairwise(behind) if word == "--config"]
    rest = [word for word in behind if word != "--config" and word not in configs]
    names = [word.partition("=")[0] for word in words if _ASSIGNMENT.match(word)]
    return Start(tuple(configs), tuple(rest), tuple(names))
