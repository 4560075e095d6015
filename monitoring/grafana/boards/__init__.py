"""The dashboards, one module for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from monitoring.grafana.boards import logs, overview, queues, schedules, task, telemetry, workers

if TYPE_CHECKING:
    from monitoring.grafana.model import Dashboard

BOARDS: Final[tuple[Dashboard, ...]] = (
    overview.BOARD,
    task.BOARD,
    queues.BOARD,
    workers.BOARD,
    schedules.BOARD,
    telemetry.BOARD,
    logs.BOARD,
)
