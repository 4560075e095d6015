"""The channels by which log lines leave a worker: shipped to OpenTelemetry, and files of JSON lines."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from otel_taskqueue.core import lifecycle, quiet
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.logs import handlers, jsonlines, levels, sampling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_taskqueue.core.logs.levels import Levels
    from otel_taskqueue.core.telemetry import Telemetry

MAIN = jsonlines.MAIN
HORSE = jsonlines.HORSE


_rooms: set[str] = set()
_levels: Levels | None = None


def start(room: str, telemetry: Telemetry, worker: str, slot: str, opened: Iterable[str] = ()) -> None:
    """In a worker, and again in each of its children: what is written and shipped from here on.

    Args:
        room: Who calls: `stop` takes the same.
        telemetry: Of the room.
        worker: Its name.
        slot: `MAIN`, `HORSE` or the index of a child.
        opened: Loggers whose level the queue's library sets itself.
    """
    global _levels  # noqa: PLW0603  one set of levels per process
    settings = telemetry.settings
    if not settings.logs:
        return
    with Guarded("log channels"):
        _rooms.add(room)
        found = _levels = levels.start(settings.log_level_file, opened)
        sampling.start(settings.log_sampling, lifecycle.current_attempt)

        handlers.gate(sampling.gate if settings.log_sampling < 1 else None, _ships)
        handlers.console(found.passed_before)
        jsonlines.start(settings, worker, slot, found.writes)


def _ships(record: logging.LogRecord) -> bool:
    """Whether a record is shipped; what an export says below INFO would be the reason for another export."""
    if _levels is not None and not _levels.ships(record):
        return False
    return record.levelno >= logging.INFO or not quiet.by_user()


def stop(room: str) -> None:
    """The room has no worker any more; the last one undoes `start`."""
    _rooms.discard(room)
    if _rooms:
        return
    handlers.gate(None)
    handlers.console(None)
    jsonlines.stop()
    levels.stop()
