"""The rows of the table: what is measured, against what, and how much it may be."""

from __future__ import annotations

from typing import NamedTuple

#: Operations of the two loops; OTLP loops are made of whole batches of the SDK's span processor.
NORMAL = (32, 160)
BATCHES = (512, 1024)
#: Of operations that cost millions of instructions by themselves.
HEAVY = {"celery-fail": (8, 40), "rq-simple": (8, 40)}
SMOKE = (2, 6)
CELERY = ("bare", "floor", "ours", "official")
RQ = ("bare", "floor", "ours")


class Row(NamedTuple):
    """Costs of one operation. ``budget``: our extra over bare may be so many times the floor's.

    ``floor_of`` names the row whose floor is the measure, where it is another row's.
    """

    name: str
    title: str
    operation: str
    subjects: tuple[str, ...]
    budget: float | None = None
    unsampled: bool = False
    metrics: bool = False
    otlp: bool = False
    floor_of: str | None = None


ROWS = (
    Row("celery-execute", "Celery execute, spans", "celery-execute", CELERY, 1.1),
    Row(
        "celery-execute-metrics", "Celery execute, spans and metrics", "celery-execute", CELERY, metrics=True
    ),
    Row("celery-execute-off", "Celery execute, sampled off", "celery-execute", CELERY, 1.2, unsampled=True),
    Row("celery-fail", "Celery execute, task that raises, spans", "celery-fail", CELERY, 1.1),
    Row("celery-enqueue", "Celery enqueue, spans", "celery-enqueue", CELERY, 1.1),
    Row(
        "celery-enqueue-metrics", "Celery enqueue, spans and metrics", "celery-enqueue", CELERY, metrics=True
    ),
    Row("celery-enqueue-off", "Celery enqueue, sampled off", "celery-enqueue", CELERY, 1.2, unsampled=True),
    Row("rq-enqueue", "RQ enqueue, spans", "rq-enqueue", RQ),
    Row("rq-simple", "RQ SimpleWorker job, spans", "rq-simple", RQ, 1.1),
    Row("rq-simple-metrics", "RQ SimpleWorker job, spans and metrics", "rq-simple", RQ, metrics=True),
    Row(
        "celery-execute-otlp",
        "Celery execute, spans and metrics, OTLP/HTTP",
        "celery-execute",
        CELERY,
        2.0,
        metrics=True,
        otlp=True,
        floor_of="celery-execute-metrics",
    ),
)
WORKER_ROWS = ("prefork", "rq-fork", "memory")
NAMES = (*(row.name for row in ROWS), *WORKER_ROWS)
