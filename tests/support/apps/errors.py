"""The exceptions which the test tasks raise; they live here so that both rooms name them alike."""

from __future__ import annotations


class OrderError(Exception):
    """A plain failure."""


class ExpectedError(Exception):
    """A failure that the task declares as expected (Celery's ``throws``)."""


class TransientError(Exception):
    """A failure that the task's retry policy names."""
