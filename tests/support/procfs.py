"""What /proc tells about processes: their children, their marks, the ports they listen on."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the state on; the command name may hold spaces."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def is_alive(pid: int) -> bool:
    """Whether ``pid`` exists and is not a zombie."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in {"Z", "X"}


def children(pid: int) -> list[int]:
    """Living direct children of ``pid``, oldest first."""
    found: list[tuple[int, int]] = []
    for candidate in _pids():
        stat = _stat(candidate)
        if stat and stat[0] != "Z" and int(stat[1]) == pid:
            found.append((int(stat[19]), candidate))
    return [child for _, child in sorted(found)]


def marked(mark: str) -> list[int]:
    """Living processes whose environment at their start holds ``mark`` (``KEY=value``)."""
    needle = mark.encode()
    found: list[int] = []
    for pid in _pids():
        try:
            environ = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if needle in environ and is_alive(pid):
            found.append(pid)
    return found


def command(pid: int) -> str:
    """The command line of ``pid``, empty when it has gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def _socket_inodes(port: int) -> set[str]:
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return inodes


def listens(pid: int, port: int) -> bool:
    """Whether it is ``pid`` itself that listens on TCP ``port``."""
    wanted = _socket_inodes(port)
    try:
        descriptors = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            if str(descriptor.readlink()) in wanted:
                return True
        except OSError:
            continue
    return False
