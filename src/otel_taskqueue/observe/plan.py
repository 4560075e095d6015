"""What is to be observed, decided and checked before anything connects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from otel_taskqueue.observe.target import Target

Library = Literal["celery", "rq"]


@dataclass(frozen=True, slots=True)
class Plan:
    """``management`` is a URL, "" to look where the plugin usually listens, None for none.

    ``schedules`` is the Redis in which beat and cron publish their schedules; None: there is none.
    ``app`` is a Celery application, None for RQ.
    """

    target: Target
    library: Library
    queues: tuple[str, ...]
    app: Any = None
    management: str | None = ""
    schedules: Target | None = None
    group: str = ""

    @property
    def identity(self) -> str:
        """What all instances that observe the same have in common, and no other."""
        return f"otel-taskqueue:observe:{self.group or self.library}"
