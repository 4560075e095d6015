"""RQ jobs whose log lines are counted."""

from __future__ import annotations

import logging
import os
import signal

from support.apps.errors import OrderError

log = logging.getLogger("rq.worker.shop")
NAMES = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


def levels(mark: str) -> None:
    """One line of each level, by a logger below RQ's own and by a module's."""
    for name, level in NAMES.items():
        log.log(level, "%s %s", mark, name)
        logging.getLogger("shop.orders").log(level, "%s module %s", mark, name)


def write(mark: str, count: int) -> None:
    """Many lines."""
    for number in range(count):
        log.info("%s:%d", mark, number)


def end(mark: str, how: str) -> None:
    """Write two lines of no importance and one that is, and end this way."""
    log.info("%s one", mark)
    log.info("%s two", mark)
    log.warning("%s three", mark)
    if how == "fail":
        raise OrderError("no such order")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
