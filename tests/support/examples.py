"""The examples: where they are, the commands and the tree in a README, a trace drawn like that tree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from support.env import TESTS
from support.otlp.model import Span

EXAMPLES = TESTS.parent / "examples"


def drawn(spans: Sequence[Span], parent: str = "", depth: int = 0) -> list[str]:
    """The spans as indented lines: name, service, attempt, outcome."""
    lines: list[str] = []
    for span in sorted(spans, key=lambda span: span.start):
        if span.parent_id != parent:
            continue
        attributes = span.attributes
        attempt = f"attempt {attributes.get('taskqueue.task.attempt')}" if span.kind == "CONSUMER" else ""
        words = (span.name, span.service, attempt, attributes.get("taskqueue.task.outcome", ""))
        lines.append("   " * depth + " ".join(str(word) for word in words if word))
        lines += drawn(spans, span.span_id, depth + 1)
    return lines


def promised(readme: Path) -> list[str]:
    """The tree in a README, without its branches."""
    tree = readme.read_text().partition("one trace:\n\n```\n")[2].partition("```")[0].splitlines()
    plain = [re.sub(r"[│├└─]", " ", line).rstrip() for line in tree]
    return [line[: len(line) - len(line.lstrip())] + " ".join(line.split()) for line in plain]


def commands(readme: Path) -> list[str]:
    """The lines of its shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", readme.read_text(), re.DOTALL)
    lines = (line.partition(" # ")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line]
