"""The Celery application of `measures` with an SDK for metrics alone."""

from __future__ import annotations

import support.apps.measures_alone  # noqa: F401  before the application
from support.apps.measures_app import app

__all__ = ["app"]
