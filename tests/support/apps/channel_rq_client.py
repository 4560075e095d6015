"""A client process of the counted log lines."""

from __future__ import annotations

from typing import Any

from support.apps import channel_rq, rq_client
from support.apps.client import serve


def enqueue(case: str, *args: Any) -> str:
    """Enqueue one job."""
    return rq_client.queue.enqueue(getattr(channel_rq, case), *args).id


def enqueue_many(case: str, calls: list[list[Any]]) -> list[str]:
    """Enqueue one job for each list of arguments."""
    return [enqueue(case, *args) for args in calls]


OPERATIONS = {**rq_client.OPERATIONS, "enqueue": enqueue, "enqueue_many": enqueue_many}

if __name__ == "__main__":
    serve(OPERATIONS)
