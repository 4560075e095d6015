# ruff: noqa: INP001, TID251  (no part of the package)
"""Tell whether every address in URLS answers; used by compose.yaml. Needs nothing but Python."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request


def answers(url: str) -> bool:
    """Whether there is a good answer."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310  (addresses of compose.yaml)
            return True
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    """Ask each once; the exit status."""
    silent = [url for url in os.environ["URLS"].split() if not answers(url)]
    for url in silent:
        sys.stderr.write(f"{url} does not answer\n")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
