"""Write the dashboards; with ``--check`` tell which of the committed ones are not what would be written."""

from __future__ import annotations

import sys

from monitoring.grafana import generated


def main(arguments: list[str]) -> int:
    """Write, or check; the exit status."""
    if arguments == ["--check"]:
        stale = generated.stale()
        for path in stale:
            sys.stderr.write(f"{path} is not what `python -m monitoring.grafana` writes\n")
        return 1 if stale else 0
    generated.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
