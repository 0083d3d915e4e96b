"""The system calls of the hot path, compiled or not: the same answers."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pgswitch.relay import syscalls


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield two connected sockets that never block."""
    one, other = socket.socketpair()
    one.settimeout(0)
    other.settimeout(0)
    with closing(one), closing(other):
        yield one, other


@pytest.mark.parametrize("size", [10, 8192, 65536])
def test_read(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    """A read returns what is there, at most what was asked for."""
    one, other = pair
    one.send(b"x" * 20)
    assert syscalls.read(other.fileno(), size) == b"x" * min(20, size)


@pytest.mark.parametrize("size", [8192, 65536])
def test_read_nothing_yet(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    """A read without data would block; at the end of the stream it is empty."""
    one, other = pair
    with pytest.raises(BlockingIOError):
        syscalls.read(other.fileno(), size)
    one.close()
    assert syscalls.read(other.fileno(), size) == b""


@pytest.mark.parametrize("size", [8192, 65536])
def test_read_large(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    """Every byte arrives, in order, whatever the size of the reads."""
    one, other = pair
    sent = bytes(range(256)) * 400
    taken = one.send(sent)
    read = b""
    while len(read) < taken:
        read += syscalls.read(other.fileno(), size)
    assert read == sent[:taken]


def test_bad_descriptor() -> None:
    """A descriptor that is not open is an OSError, for each call that takes one."""
    with socket.socket() as sock:
        closed = sock.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        syscalls.read(closed, 10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        syscalls.write(closed, b"x")


def test_write_until_full(pair: tuple[socket.socket, socket.socket]) -> None:
    """A write returns how much was taken, and would block once nothing fits."""
    one, other = pair
    written = []

    def write_for_ever() -> None:
        while True:
            written.append(syscalls.write(one.fileno(), b"x" * 10_000))

    with pytest.raises(BlockingIOError):
        write_for_ever()
    assert 0 < len(other.recv(sum(written))) <= sum(written)


def test_write_to_the_dead(pair: tuple[socket.socket, socket.socket]) -> None:
    """A write to a peer that is gone is an OSError, not a signal."""
    one, other = pair
    other.close()
    with pytest.raises(BrokenPipeError):
        syscalls.write(one.fileno(), b"x")


def test_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    """An event tells its descriptor and flags; no event is an empty list."""
    one, other = pair
    with select.epoll() as poller:
        poller.register(other, select.EPOLLIN)
        assert syscalls.wait(poller, 0.0, 8) == []
        assert syscalls.wait(poller, 0.01, 8) == []
        one.send(b"x")
        event = other.fileno(), select.EPOLLIN
        assert syscalls.wait(poller, -1.0, 8) == [event]


def test_wait_most(pair: tuple[socket.socket, socket.socket]) -> None:
    """At most the number asked for is returned."""
    one, other = pair
    with select.epoll() as poller:
        poller.register(one, select.EPOLLOUT)
        poller.register(other, select.EPOLLOUT)
        assert len(syscalls.wait(poller, 0.0, 1)) == 1
        assert len(syscalls.wait(poller, 0.0, 8)) == 2


def test_wrong_arguments() -> None:
    """What is no descriptor, and what is no bytes, is refused."""
    with pytest.raises(TypeError):
        syscalls.read("x", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        syscalls.write(1, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_accept(host: str) -> None:
    """A connection does not block, is not inherited, and tells where it comes from."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip("no IPv6 here")
        listener.listen()
        listener.setblocking(False)  # noqa: FBT003 - its only argument
        with pytest.raises(BlockingIOError):
            syscalls.accept(listener)
        with socket.create_connection(listener.getsockname()[:2]) as client:
            descriptor, address = syscalls.accept(listener)
            with socket.socket(fileno=descriptor) as ours:
                assert address == client.getsockname()
                assert not os.get_inheritable(descriptor)
                with pytest.raises(BlockingIOError):
                    syscalls.read(descriptor, 10)
                ours.send(b"abc")
                assert client.recv(10) == b"abc"


def test_accept_with_a_zone() -> None:
    """The zone is a field of the address, not part of its text, as in Python."""
    listener = socket.socket(socket.AF_INET6)
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
        found = next(line.split() for line in lines if line.startswith("fe80"))
        host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(found[0]))
        listener.bind((host, 0, 0, int(found[1], 16)))
    except (OSError, StopIteration):
        listener.close()
        pytest.skip("no such address here")
    with listener, socket.socket(socket.AF_INET6) as client:
        listener.listen()
        client.connect(listener.getsockname())
        descriptor, address = syscalls.accept(listener)
        os.close(descriptor)
        assert address == client.getsockname()
        assert "%" not in address[0]


def test_accept_from_what_does_not_listen() -> None:
    """The system's own error."""
    with socket.socket() as sock, pytest.raises(OSError, match="Invalid argument"):
        syscalls.accept(sock)
