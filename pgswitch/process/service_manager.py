"""systemd: notification (sd_notify(3)) and socket activation (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

_FIRST_INHERITED = 3


def notify_service_manager(state: str, environ: Mapping[str, str]) -> bool:
    """Send our state to the service manager, if it wants to know.

    :param state: one assignment per line, such as ``READY=1``.
    :param environ: the environment; ``NOTIFY_SOCKET`` names the manager's socket.
    :return: whether the message was sent.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = f"\0{path[1:]}" if path.startswith("@") else path
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return False
    return True


def _environment_at_start() -> dict[str, str]:
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        pairs = []
    return dict(os.fsdecode(pair).partition("=")[::2] for pair in pairs if pair)


_AT_START = _environment_at_start()
"""Read at import: after switching the user we may not read it any more (proc(5))."""


def environment() -> dict[str, str]:
    """Return our environment, including the variables of the process's start.

    Twisted removes the variables of socket activation as soon as its endpoints are
    imported (``twisted.python.systemd``), long before we need them.
    """
    return {**_AT_START, **os.environ}


def inherited_sockets(environ: Mapping[str, str]) -> range:
    """Return the descriptors of listening sockets that the service manager passed.

    They are for one process only, the one named by ``LISTEN_PID``.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return range(0)
    return range(_FIRST_INHERITED, _FIRST_INHERITED + int(count))
