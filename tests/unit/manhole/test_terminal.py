"""Joining a terminal and a socket."""

from __future__ import annotations

import os
import pty
import socket
import termios
import threading
from contextlib import suppress

from pgswitch.manhole.__main__ import raw, relay, write_all


def test_relay_passes_both_ways_until_the_far_end_closes() -> None:
    """Keys reach the socket, answers reach the screen, the end ends it."""
    here, there = socket.socketpair()
    keys_out, keys_in = os.pipe()
    screen_out, screen_in = os.pipe()
    thread = threading.Thread(target=relay, args=(here, keys_out, screen_in))
    thread.start()
    os.write(keys_in, b"1 + 1\r")
    assert there.recv(100) == b"1 + 1\r"
    there.sendall(b"2")
    assert os.read(screen_out, 100) == b"2"
    os.close(keys_in)
    assert there.recv(100) == b""
    there.sendall(b"bye")
    there.close()
    thread.join(10)
    assert not thread.is_alive()
    assert os.read(screen_out, 100) == b"bye"
    here.close()
    for fd in (keys_out, screen_out, screen_in):
        os.close(fd)


def test_terminal_is_raw_only_meanwhile() -> None:
    """Whatever happens, the caller gets the terminal back as it was."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with suppress(KeyError), raw(slave):
        assert not termios.tcgetattr(slave)[3] & termios.ECHO
        raise KeyError
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_write_all_goes_on_after_a_short_write() -> None:
    """A pipe that takes little at a time still gets all."""
    out, into = os.pipe()
    data = bytes(200_000)
    thread = threading.Thread(target=write_all, args=(into, data))
    thread.start()
    got = 0
    while got < len(data):
        got += len(os.read(out, 65536))
    thread.join(10)
    assert got == len(data)
    os.close(out)
    os.close(into)
