"""The other end of the shell: ``python -m pgswitch.manhole SOCKET``."""

from __future__ import annotations

import os
import socket
import sys

from pgswitch.config.trust import is_trusted
from pgswitch.manhole.terminal import relay
from pgswitch.net.sockets import user_behind


def main(arguments: list[str]) -> int:
    """Join this terminal to the shell behind a unix socket.

    :param arguments: the path of the socket, alone.
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
            # What such a shell shows may be meant for this terminal, not for eyes.
            sys.stderr.write(f"{arguments[0]}: runs as another user (id {uid})\n")
            return 1
        relay(sock, sys.stdin.fileno(), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
