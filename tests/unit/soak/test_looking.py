"""What /proc tells."""

from __future__ import annotations

import os
import socket

from soak.looking import memory_kb, sockets


def test_sockets() -> None:
    """Each one counts."""
    before = sockets(os.getpid())
    with socket.socket(), socket.socket():
        assert sockets(os.getpid()) == before + 2
    assert sockets(os.getpid()) == before


def test_memory() -> None:
    """This process has some megabytes."""
    assert memory_kb(os.getpid()) > 5000
