"""The other end of the shell: ``python -m pgswitch.manhole SOCKET``."""

from __future__ import annotations

import socket
import sys

from pgswitch.manhole.terminal import relay


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
        relay(sock, sys.stdin.fileno(), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
