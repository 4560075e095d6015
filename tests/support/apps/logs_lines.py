"""What a job of the log tests says, by every way in which an application logs."""

from __future__ import annotations

import logging
import logging.config
import os
import sys
from typing import Any

SETUP = frozenset(os.environ.get("TASKQUEUE_TEST_LOGS", "").split())
#: Names that an application may well give its own fields, ours included.
EXTRA = dict.fromkeys(
    (
        *("job_id", "task", "task_id", "task_name", "queue", "worker", "attempt", "trace_id", "span_id"),
        *("messaging.message.id", "taskqueue.task.name", "taskqueue.worker.name", "data"),
    ),
    "mine",
)
CONSOLE: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"own": {"format": "own %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "own",
            "stream": "ext://sys.__stderr__",  # Celery puts a logger in the place of the other one
        }
    },
    "root": {"level": "INFO", "handlers": ["console"]},
}


def speak(job_id: str, attempt: int, **loggers: logging.Logger) -> None:
    """Say one line by each logger, and one with fields of the application's own."""
    configure_late()
    about = f"line of {job_id} attempt {attempt}"
    everywhere = {
        "root": logging.getLogger(),
        "module": logging.getLogger("shop.orders"),
        "library": logging.getLogger("acme.http.pool"),
        **loggers,
    }
    for kind, logger in everywhere.items():
        logger.warning("%s %s", kind, about)
    logging.getLogger("shop.orders").warning("extra %s", about, extra=EXTRA)
    print(f"printed {about}")


def configure_late() -> None:
    """Logging as it is configured by whatever a task imports first."""
    if "basic_after" in SETUP:
        logging.basicConfig(
            level="INFO", format="basic %(levelname)s %(name)s %(message)s", stream=sys.__stderr__
        )
    if "dict_after" in SETUP:
        logging.config.dictConfig(CONSOLE)
    if "force_after" in SETUP:
        form = "forced %(levelname)s %(name)s %(message)s"
        logging.basicConfig(level="INFO", format=form, stream=sys.__stderr__, force=True)
