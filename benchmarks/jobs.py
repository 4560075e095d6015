"""The job of RQ, alone in its module: every work-horse imports it."""

from __future__ import annotations


def noop() -> None:
    """Nothing."""
