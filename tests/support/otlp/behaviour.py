"""How the receiver treats an export."""

from __future__ import annotations

import enum


class Behaviour(enum.Enum):
    """What an exporter meets. A refusing collector is a receiver that was stopped."""

    HEALTHY = "answers"
    HANGING = "accepts the request and never answers"
    UNAVAILABLE = "answers 503 / UNAVAILABLE"
