"""A Celery application that logs, configured in every way that applications are."""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import time
from typing import Any

from support.apps.logs_lines import CONSOLE, SETUP, speak
from support.apps.logs_setup import handler, set_up

if "in_child" not in SETUP:
    set_up()

from celery import Celery, Task, signals
from celery.exceptions import Reject
from celery.utils.log import get_task_logger

log = get_task_logger("shop.tasks")
app = Celery(
    "shop",
    broker=os.environ.get("TASKQUEUE_TEST_BROKER"),
    backend=os.environ.get("TASKQUEUE_TEST_BACKEND"),
)
app.conf.update(
    worker_hijack_root_logger="hijack_off" not in SETUP,
    broker_connection_retry_on_startup=True,
    worker_lost_wait=0.2,
)
if "format" in SETUP:
    app.conf.worker_log_format = "%(messaging.message.id)s|%(taskqueue.task.attempt)s|%(message)s"
    app.conf.worker_task_log_format = app.conf.worker_log_format
if "basic_before" in SETUP:
    logging.basicConfig(level="INFO", format="basic %(levelname)s %(name)s %(message)s")

if "own_setup" in SETUP:

    @signals.setup_logging.connect
    def configure(**_: Any) -> None:
        """As applications do which want no logging of Celery's."""
        cut = {"handlers": ["console"], "level": "INFO", "propagate": False}
        loggers = {"celery": cut} if "cut" in SETUP else {}
        logging.config.dictConfig({**CONSOLE, "loggers": loggers})


if "own_handlers" in SETUP:  # as many a page recommends

    @signals.after_setup_logger.connect
    def attach_to_root(logger: logging.Logger, **_: Any) -> None:
        """Ship what the root sees."""
        logger.addHandler(handler())

    @signals.after_setup_task_logger.connect
    def attach_to_tasks(logger: logging.Logger, **_: Any) -> None:
        """Ship what `celery.task` sees, too."""
        logger.addHandler(handler())


if "in_child" in SETUP:

    @signals.worker_process_init.connect
    def set_up_child(**_: Any) -> None:
        """As OpenTelemetry's own documentation tells."""
        set_up()
        logging.getLogger().addHandler(handler())


@app.task(bind=True, max_retries=1)
def chat(self: Task, *_args: Any, **_kwargs: Any) -> str:
    """Say something in two attempts."""
    attempt = self.request.retries + 1
    speak(self.request.id, attempt, task=log, other=logging.getLogger("celery.shop"))
    if attempt == 1:
        raise self.retry(countdown=0)
    return "result=TOPSECRET"


def open_url(url: str) -> None:
    """Fail as HTTP clients do."""
    raise KeyError(url)


@app.task
def leak(*_args: Any, **_kwargs: Any) -> None:
    """Fail with what nobody may read."""
    try:
        open_url("https://bob:TOPSECRET@example.com/")
    except KeyError as error:
        raise ValueError("cannot log in with password=TOPSECRET") from error


@app.task(bind=True, max_retries=1)
def leak_again(self: Task) -> None:
    """Ask for another attempt because of what nobody may read."""
    raise self.retry(exc=ValueError("token: TOPSECRET"), countdown=0)


@app.task(throws=(KeyError,))
def refuse() -> None:
    """Fail as it may."""
    raise KeyError("order")


@app.task
def turn_down() -> None:
    """Have the message dropped."""
    raise Reject("no order")


@app.task
def kill_self() -> None:
    """Die."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def stay() -> None:
    """Run into whatever limit there is."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001 - the soft limit
            continue
