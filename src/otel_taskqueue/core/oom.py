"""Whether the kernel killed for want of memory: evidence only, never guessed from SIGKILL."""

from __future__ import annotations

from pathlib import Path

_V2 = "memory.events"
_V1 = "memory.oom_control"
_marked: int | None = None


def kills() -> int | None:
    """How often the kernel has killed a process of our cgroup; None when it does not say."""
    for folder, name in _candidates():
        try:
            lines = (folder / name).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition(" ")
            if key == "oom_kill" and value.isdigit():
                return int(value)
    return None


def mark() -> None:
    """Remember the count, before children run that could be killed."""
    global _marked  # noqa: PLW0603  one cgroup per process
    _marked = kills()


def rose() -> bool:
    """Whether the count rose since it was remembered; remembers the new one."""
    before = _marked
    mark()
    return before is not None and _marked is not None and _marked > before


def rose_since(before: int | None) -> bool:
    """Whether the count is above one of before; an unknown one is no evidence."""
    now = kills()
    return before is not None and now is not None and now > before


class Evidence:
    """The count as one reader last saw it."""

    def __init__(self) -> None:
        self._seen = kills()

    def rose(self) -> bool:
        """Whether the count rose since the last look."""
        before, self._seen = self._seen, kills()
        return before is not None and self._seen is not None and self._seen > before


def _candidates() -> list[tuple[Path, str]]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[Path, str]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.append((Path("/sys/fs/cgroup") / path.lstrip("/"), _V2))
        elif "memory" in controllers.split(","):
            found.append((Path("/sys/fs/cgroup/memory") / path.lstrip("/"), _V1))
    return found
