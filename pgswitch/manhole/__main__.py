"""The client of the shell: ``python -m pgswitch.manhole SOCKET``."""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from pgswitch.config.trust import is_trusted
from pgswitch.net.sockets import user_behind


def main(arguments: list[str]) -> int:
    """Connect this terminal to the shell behind a unix socket.

    :param arguments: only the path of the socket.
    :return: the exit status.
    """
    if len(arguments) != 1:
        sys.stderr.write("Usage: python -m pgswitch.manhole SOCKET\n")
        return 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(arguments[0])
        except OSError as error:
            sys.stderr.write(f"{arguments[0]}: {error.strerror}\n")
            return 1
        uid = user_behind(sock)
        if os.geteuid() and not is_trusted(uid):
            # Its output could contain escape sequences that control this terminal.
            sys.stderr.write(f"{arguments[0]}: runs as another user (id {uid})\n")
            return 1
        relay(sock, sys.stdin.fileno(), sys.stdout.fileno())
    return 0


_CHUNK = 4096


def relay(sock: socket.socket, source: int, target: int) -> None:
    """Pass bytes both ways until the peer closes the socket.

    When ``source`` ends, the socket is half closed and the peer may still answer.

    :param sock: a connected socket.
    :param source: descriptor to read keys from; made raw if it is a terminal.
    :param target: descriptor to write the answers to.
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
    """Put a terminal into raw mode; restore it afterwards."""
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
    """Write every byte, in as many calls as needed."""
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
