"""Joins the terminal of the caller to a socket, each key as it is pressed."""

from __future__ import annotations

import os
import select
import socket
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 4096


def relay(sock: socket.socket, source: int, target: int) -> None:
    """Pass bytes both ways until the socket's other side closes it.

    When ``source`` ends, the other side is told and may still answer.

    :param sock: a connected socket.
    :param source: descriptor that keys come from; made raw if it is a terminal.
    :param target: descriptor to show the answers on.
    """
    with raw(source):
        watched: list[int | socket.socket] = [sock, source]
        while True:
            ready, _, _ = select.select(watched, [], [])
            if sock in ready:
                data = sock.recv(_CHUNK)
                if not data:
                    return
                write_all(target, data)
            if source in ready:
                data = os.read(source, _CHUNK)
                if data:
                    sock.sendall(data)
                else:
                    sock.shutdown(socket.SHUT_WR)
                    watched.remove(source)


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """Let a terminal pass every key unchanged; afterwards it is as before."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte, however many a single call takes."""
    while data:
        data = data[os.write(fd, data) :]
