"""A client process of the counted log lines."""

from __future__ import annotations

from typing import Any

from support.apps import celery_client, channel_celery
from support.apps.client import serve


def enqueue(case: str, *args: Any) -> str:
    """Enqueue one job."""
    return getattr(channel_celery, case).delay(*args).id


def enqueue_many(case: str, calls: list[list[Any]]) -> list[str]:
    """Enqueue one job for each list of arguments."""
    return [getattr(channel_celery, case).delay(*args).id for args in calls]


OPERATIONS = {**celery_client.OPERATIONS, "enqueue": enqueue, "enqueue_many": enqueue_many}

if __name__ == "__main__":
    serve(OPERATIONS)
