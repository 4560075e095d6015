"""The commands that pages and headers of configurations show, so that the tests run the same."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from support.backends.programs import ROOT
from support.configurations import FOLDER

_BLOCK = re.compile(r"^```(?:shell|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HEADER = re.compile(r"^# Start: +(.*?)^# Expect:", re.MULTILINE | re.DOTALL)
_STARTS = re.compile(r"\botelcol\S* .*--config")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True, slots=True)
class Start:
    """How a collector is started: its configurations, other arguments, variables."""

    configs: tuple[str, ...]
    arguments: tuple[str, ...]
    variables: Mapping[str, str]


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
    return [
        _start(shlex.split(command))
        for command in commands((ROOT / "docs" / page).read_text())
        if _STARTS.search(command)
    ]


def commands(text: str) -> list[str]:
    """Every line of every shell block, those that a backslash continues as one."""
    return [line for block in _BLOCK.findall(text) for line in _lines(block)]


def arguments_of(page: str, program: str) -> list[str]:
    """What a page starts a program with, which it starts once."""
    shown = commands((ROOT / "docs" / page).read_text())
    (command,) = [words for words in map(shlex.split, shown) if words[:1] == [program]]
    return command[1:]


def starts_of_header(config: str) -> list[Start]:
    """Every command of a configuration's header that starts a collector."""
    found = _HEADER.search((FOLDER / config).read_text())
    text = re.sub(r"^# *", "", found[1], flags=re.MULTILINE) if found else ""
    return [_start(shlex.split(line)) for line in _lines(text) if _STARTS.search(line)]


def _lines(text: str) -> list[str]:
    return text.replace("\\\n", " ").splitlines()


def _start(words: list[str]) -> Start:
    program = [word.startswith("otelcol") for word in words].index(True)
    behind = words[program + 1 :]
    configs = [after for word, after in pairwise(behind) if word == "--config"]
    rest = [word for word in behind if word != "--config" and word not in configs]
    assert all(map(_ASSIGNMENT.match, words[:program])), words
    variables = {name: value for name, _, value in (word.partition("=") for word in words[:program])}
    return Start(tuple(configs), tuple(rest), variables)
