"""A host name whose addresses a test can change, without touching the machine's own names.

A process that is started with the prefix sees our file in the place of ``/etc/hosts``, in a mount namespace
of its own. To the process that is what a DNS name is: several addresses, looked up anew from time to time
(Go looks at the file again after 5 s).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from support.env import must_have_everything

HOSTS = "/etc/hosts"
SIZE = 1024
# As a user a namespace of one's own is needed, too; some containers allow root the one and not the other.
WAYS = (("unshare", "--map-root-user", "--mount"), ("unshare", "--mount"))
BIND = f'mount --bind "$0" {HOSTS} && exec "$@"'


class Name:
    """One name; ``addresses`` are what it stands for."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._file = directory / "hosts"
        directory.mkdir(parents=True, exist_ok=True)
        self._file.touch()
        self.point_to([])

    def point_to(self, addresses: Sequence[str]) -> None:
        """Replace its addresses, all at once: a reader sees the old ones or the new ones."""
        lines = ["127.0.0.1 localhost", *(f"{address} {self.name}" for address in addresses), "#"]
        with self._file.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), "\n".join(lines).ljust(SIZE, "#").encode(), 0)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command begins with, so that it knows the name; skips where that is not allowed."""
        return (*_namespace(), "sh", "-c", BIND, str(self._file))


def _namespace() -> tuple[str, ...]:
    found = _allowed()
    if not found:
        reason = (
            "no mount namespace for a host name of our own: `unshare --map-root-user --mount` is not allowed"
        )
        (pytest.fail if must_have_everything() else pytest.skip)(reason)
    return found


@cache
def _allowed() -> tuple[str, ...]:
    for way in WAYS:
        command = [*way, "mount", "--bind", "/dev/null", HOSTS]
        try:
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return way
        except FileNotFoundError:
            break
    return ()
