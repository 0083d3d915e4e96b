"""Reading answers without a driver."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bench import wire
from tests.fakes.messages import READY


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return two sockets that are joined, with nothing on a port."""
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_start_up_message() -> None:
    """Its length counts itself, the protocol is 3.0 (manual, 54.7)."""
    made = wire.startup({"user": "me", "database": "mine"})
    assert int.from_bytes(made[:4]) == len(made)
    assert made[4:] == b"\0\3\0\0user\0me\0database\0mine\0\0"


def test_ready_cut_in_two(ends: tuple[socket.socket, socket.socket]) -> None:
    """The end of an answer is seen however it is cut."""
    here, there = ends
    there.sendall(b"R\0\0\0\x08\0\0\0\0" + READY)
    wire._await_ready(here)
    there.sendall(READY[:3])
    here.settimeout(0)
    with pytest.raises(BlockingIOError):
        wire._await_ready(here)


def test_hanging_up(ends: tuple[socket.socket, socket.socket]) -> None:
    """What was said before stands in the error."""
    here, there = ends
    there.sendall(b"E no such user")
    there.close()
    with pytest.raises(EOFError, match="no such user"):
        wire._await_ready(here)
