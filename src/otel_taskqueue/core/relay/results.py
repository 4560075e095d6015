"""The way home of one result, for a child that relays nothing: a fresh interpreter, or no relay wanted.

The worker's parent counts (D4), so it must hear how the attempt ended even where the child exports
its telemetry by itself. One socketpair for each child: the child writes one message at the end of
its attempt, the parent reads it when the child is gone.
"""

from __future__ import annotations

import marshal
import os
import socket
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from otel_taskqueue import settings
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.relay import lanes
from otel_taskqueue.core.relay.lanes import Lane
from otel_taskqueue.core.result import Result

if TYPE_CHECKING:
    from collections.abc import Generator

_LONGEST = 64 * 1024
_open: socket.socket | None = None


def make() -> Lane | None:
    """In the parent, for the next child; None where that cannot be had."""
    if not lanes.available():
        return None
    try:
        write, read = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:  # no such sockets on this system, or no descriptors left
        return None
    write.setblocking(False)
    read.setblocking(False)
    return Lane(write, read, os.fstat(write.fileno()).st_ino)


@contextmanager
def handing_down(lane: Lane | None, job_id: str) -> Generator[None]:
    """In the parent: what is started within this block as a new program finds the lane."""
    if lane is None:
        yield
        return
    descriptor = lane.write.fileno()
    os.set_inheritable(descriptor, True)
    try:
        with settings.handing_down(f"{descriptor}:{lane.inode}:{job_id}"):
            yield
    finally:
        os.set_inheritable(descriptor, False)


def read(lane: Lane | None) -> Result | None:
    """In the parent, when the child is gone: what it said at the end of its attempt. Closes the lane."""
    if lane is None:
        return None
    lane.write.close()
    try:
        message = lane.read.recv(_LONGEST)
        return Result(*marshal.loads(message)) if message else None  # noqa: S302  our own socketpair
    except (OSError, ValueError, EOFError, TypeError):
        return None  # it has said nothing, or somebody else has used its descriptor
    finally:
        lane.read.close()


def inherit(lane: Lane | None) -> None:
    """In a forked child that runs a job."""
    global _open  # noqa: PLW0603  one attempt in each such process
    if lane is not None and lane.is_intact():
        lane.read.close()
        _open = lane.write


def take_up(job_id: str) -> None:
    """In a new program that runs a job: nothing that it starts may find the lane again."""
    global _open  # noqa: PLW0603
    descriptor, _, rest = settings.handed_down().partition(":")
    inode, _, whose = rest.partition(":")
    if not (descriptor.isdecimal() and inode.isdecimal() and whose == job_id):
        return
    try:
        found = os.fstat(int(descriptor))
        if stat.S_ISSOCK(found.st_mode) and found.st_ino == int(inode):
            os.set_inheritable(int(descriptor), False)
            _open = socket.socket(fileno=int(descriptor))
    except (OSError, OverflowError):
        return  # it was closed on its way


def tell(result: Result) -> None:
    """In such a child: the attempt has ended; the first word stands. Never blocks."""
    global _open
    if _open is None:
        return
    lane, _open = _open, None
    with Guarded("relay", leaving=True):
        lane.setblocking(False)
        lane.send(marshal.dumps(tuple(result)), socket.MSG_NOSIGNAL)
        lane.close()
