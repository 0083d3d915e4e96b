"""The three system calls of the hot path, for sockets that never block.

``syscalls.c`` beside this file is the same in C, built where a compiler is there and
then imported instead (the same names, the same tests).  Python's own versions parse
their arguments from tuples, let go of the interpreter lock around calls that cannot
block, and allocate the largest result before they know its size: 3 of the 11
microseconds that a transaction spent outside the kernel.
"""

from __future__ import annotations

import os
from select import epoll

SHIFT = 16
"""An event is ``descriptor << SHIFT | flags``, flags as of epoll_ctl(2)."""


def read(descriptor: int, size: int) -> bytes | None:
    """Return at most ``size`` bytes, none at the end, None if there is nothing yet.

    Raises OSError for a connection that is lost.
    """
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None


def write(descriptor: int, data: bytes) -> int:
    """Return how many of the bytes the kernel took, 0 if it can take none now.

    Raises OSError for a connection that is lost.
    """
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0


def wait(poller: epoll, timeout: float, most: int) -> list[int]:
    """Return at most ``most`` events; none after ``timeout`` seconds (-1: never).

    Raises OSError as epoll_wait(2), but for EINTR, which ends the wait early at most.
    """
    return [event[0] << SHIFT | event[1] for event in poller.poll(timeout, most)]
