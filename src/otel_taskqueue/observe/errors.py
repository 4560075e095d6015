"""What the command says instead of a traceback."""

from __future__ import annotations

import importlib.util


class UsageError(Exception):
    """The command line or the environment asks for what cannot be done; the text holds no password."""


class MissingLibraryError(Exception):
    """A library is not installed; the text names what brings it."""


def has(module: str) -> bool:
    """Whether a library is installed."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is not there
        return False


def need(module: str, install: str, purpose: str) -> None:
    """Make sure that a library is there; ``install`` is what pip is told to install.

    Raises:
        MissingLibraryError: it is not.
    """
    if not has(module):
        raise MissingLibraryError(f"{module} is missing ({purpose}): pip install '{install}'")


def plain(error: BaseException) -> str:
    """One line about an error of a broker: its own words, or the name of its type."""
    words = " ".join(str(error).split())
    return words or type(error).__name__
