"""Find or build the programs; `--which NAME` prints where one is and builds nothing."""

from __future__ import annotations

import argparse
import sys

from backends.building import BuildError, build
from backends.finding import NotFoundError, find
from backends.programs import PROGRAMS, Program


def main() -> int:
    """Return 0 when all programs that were asked for are there, else 1."""
    arguments = _arguments()
    if arguments.which:
        return _which(PROGRAMS[arguments.which])
    chosen = [PROGRAMS[name] for name in arguments.names or PROGRAMS]
    return max([_provide(program) for program in chosen])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backends", description=__doc__)
    names = ", ".join(PROGRAMS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {names}; all when none is given")
    parser.add_argument("--which", metavar="NAME", choices=PROGRAMS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(PROGRAMS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {names}")
    return arguments


def _which(program: Program) -> int:
    try:
        print(find(program))
    except NotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _provide(program: Program) -> int:
    try:
        path = find(program)
    except NotFoundError:
        try:
            build(program.source, _say)
            path = find(program)
        except (BuildError, NotFoundError) as error:
            _say(f"{program.name}: {error}")
            return 1
    _say(f"{program.name}: {path}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
