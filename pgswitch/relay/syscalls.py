"""The four system calls of the hot path, for sockets that never block.

``syscalls.c`` beside this file is the same in C, built where a compiler is there and
then imported instead (the same names, the same tests).  Python's own versions parse
their arguments at length, release the interpreter lock around calls that cannot block,
and allocate the largest result before they know its size: 3 of the 11 microseconds
that a transaction spent outside the kernel.

=========================== ====================================================
``read(descriptor, size)``  at most so many bytes, none at the end
``write(descriptor, data)`` how many bytes were taken
``wait(poller, timeout,     at most so many events, each a descriptor and its flags as
most)``                     of epoll_ctl(2); none after some seconds (-1: never)
``accept(listener)``        the descriptor of a TCP connection that will not block,
                            and the address it comes from
=========================== ====================================================

The first two raise BlockingIOError when nothing can be read or taken now, and
another OSError for a connection that is lost.  The third raises OSError as
epoll_wait(2), but for EINTR, which ends the wait early at most; the fourth as
accept(2), BlockingIOError when no connection waits.
"""

from __future__ import annotations

from os import read, set_blocking, write
from select import epoll
from typing import Any

__all__ = ["accept", "read", "wait", "write"]

wait = epoll.poll


def accept(listener: Any) -> tuple[int, tuple[Any, ...]]:  # noqa: ANN401 - a socket, or what tests have for one
    """Accept a connection as it is, without a socket object around it."""
    descriptor, address = listener._accept()  # noqa: SLF001 - accept4(2) as it is
    set_blocking(descriptor, False)
    return descriptor, address
