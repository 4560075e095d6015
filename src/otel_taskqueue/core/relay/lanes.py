"""The two lanes: socketpairs that keep message boundaries, made by the parent, inherited by fork."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

#: Asked for; the kernel caps it at net.core.wmem_max (and doubles it for its own bookkeeping).
SEND_BUFFER = 4 * 1024 * 1024
#: A frame longer than this (bytes) is cut before it is sent.
LONGEST_FRAME = 64 * 1024


class Lane(NamedTuple):
    """One socketpair: children write, the parent reads."""

    write: socket.socket
    read: socket.socket
    inode: int

    def is_intact(self) -> bool:
        """Whether the descriptor is still our socket: some children close and reuse descriptors."""
        try:
            return os.fstat(self.write.fileno()).st_ino == self.inode
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Close both ends in this process."""
        self.write.close()
        self.read.close()


class Lanes(NamedTuple):
    """Control (attempt started, process span ended, drops) and data (inner spans, logs)."""

    control: Lane
    data: Lane

    def are_intact(self) -> bool:
        """Whether both descriptors are still our sockets."""
        return self.control.is_intact() and self.data.is_intact()

    def keep_write_ends(self) -> None:
        """In a child: as long as it held a read end itself, it would not notice the parent's death."""
        self.control.read.close()
        self.data.read.close()

    def close(self) -> None:
        """Close all ends in this process."""
        self.control.close()
        self.data.close()


def available() -> bool:
    """Whether this system has what the lanes need."""
    return hasattr(socket, "AF_UNIX") and hasattr(socket, "SOCK_SEQPACKET") and hasattr(os, "fork")


def make() -> Lanes:
    """Make both lanes.

    Raises:
        OSError: no descriptors left, or no such sockets on this system.
    """
    control = _make_lane()
    try:
        return Lanes(control, _make_lane())
    except OSError:
        control.close()
        raise


def _make_lane() -> Lane:
    write, read = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    write.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    write.setblocking(False)
    read.setblocking(False)
    return Lane(write, read, os.fstat(write.fileno()).st_ino)


def reached_send_buffer(lane: Lane) -> int:
    """The size of the send buffer in bytes, as the kernel granted it."""
    return lane.write.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
