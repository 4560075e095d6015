"""The worker of RQ and the jobs of `measures` with an SDK for metrics alone."""

from __future__ import annotations

import support.apps.measures_alone  # noqa: F401  before the worker's class
from support.apps.measures_rq import MeasuringWorker

__all__ = ["MeasuringWorker"]
