"""Celery tasks whose log lines are counted: by level, by hundreds of thousands, with odd contents."""

from __future__ import annotations

import logging
import os
import signal
import time

from celery import Task
from celery.utils.log import get_task_logger

from support.apps.celery_app import app
from support.apps.errors import OrderError
from support.apps.notes import note

log = logging.getLogger("shop.orders")
task_log = get_task_logger("shop.tasks")
NAMES = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


class Raising:
    """Nothing can be said about it."""

    def __repr__(self) -> str:
        raise ValueError("no text")


def write_levels(mark: str) -> None:
    """Write one line of each level by a module's logger."""
    for name, level in NAMES.items():
        log.log(level, "%s %s", mark, name)


@app.task(bind=True)
def levels(self: Task, mark: str) -> None:
    """One line of each level, by a module's logger and by a task logger."""
    write_levels(mark)
    for name, level in NAMES.items():
        task_log.log(level, "%s task %s", mark, name)


@app.task(bind=True)
def write(self: Task, mark: str, count: int) -> None:
    """Many lines."""
    for number in range(count):
        log.info("%s:%d", mark, number)


@app.task(bind=True)
def odd(self: Task) -> None:
    """Lines that are hard to write."""
    log.info('say "hello"\nand 大阪 %s', b"\xff")
    log.info("%d items", "many")
    log.info("%r", Raising(), extra={"job_id": "theirs", "basket": {"a": float("nan")}})
    log.info("x" * 1_000_000)


@app.task(bind=True)
def end(self: Task, mark: str, how: str) -> None:
    """Write two lines of no importance and one that is, and end this way."""
    log.info("%s one", mark)
    task_log.info("%s two", mark)
    log.warning("%s three", mark)
    if how == "fail":
        raise OrderError("no such order")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def until(self: Task, mark: str, seconds: float) -> None:
    """Write DEBUG lines, and nothing else, for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        log.debug("%s still here", mark)
        time.sleep(0.05)
    note(mark, "done")


@app.task(bind=True)
def tear(self: Task, path: str) -> None:
    """Die in the middle of a line."""
    log.info("first")
    with open(path, "ab", buffering=0) as file:  # noqa: PTH123  one write, no more
        file.write(b'{"message": "ha')
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True, max_retries=1)
def again(self: Task, mark: str) -> None:
    """Write, and ask for another attempt once."""
    log.info("%s %d one", mark, self.request.retries)
    log.warning("%s %d three", mark, self.request.retries)
    if not self.request.retries:
        raise self.retry(countdown=0, exc=OrderError("not yet"))


@app.task(bind=True)
def flood(self: Task, mark: str, count: int) -> None:
    """Write many lines and fail."""
    for number in range(count):
        log.info("%s %d", mark, number)
        if not number % 100:
            time.sleep(0.02)
    log.warning("%s last", mark)
    raise OrderError("after all")
