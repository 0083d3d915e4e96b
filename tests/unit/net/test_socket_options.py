"""Options of TCP sockets."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from pgswitch.net.sockets import (
    MIN_BUFFER,
    defer_accept,
    size_buffers,
    tune_listener,
    tune_socket,
)
from tests.unit.net.listen_settings import ListenValues

TCP = socket.IPPROTO_TCP
GENERAL = socket.SOL_SOCKET


@pytest.mark.parametrize(
    ("change", "level", "option", "value"),
    [
        ({}, TCP, socket.TCP_NODELAY, 1),
        ({}, GENERAL, socket.SO_KEEPALIVE, 1),
        ({"tcp_keepalive": 0}, GENERAL, socket.SO_KEEPALIVE, 0),
        ({"tcp_keepalive": 0}, TCP, socket.TCP_NODELAY, 1),
        ({"tcp_keepcnt": 3}, TCP, socket.TCP_KEEPCNT, 3),
        ({"tcp_keepidle": 11}, TCP, socket.TCP_KEEPIDLE, 11),
        ({"tcp_keepintvl": 12}, TCP, socket.TCP_KEEPINTVL, 12),
        ({"tcp_user_timeout": 1300}, TCP, socket.TCP_USER_TIMEOUT, 1300),
    ],
)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_option(
    family: int, change: dict[str, int], level: int, option: int, value: int
) -> None:
    """Each setting reaches its option, on both families."""
    with socket.socket(family) as sock:
        tune_socket(sock, replace(ListenValues(), **change))  # type: ignore[arg-type]
        assert bool(sock.getsockopt(level, option)) == bool(value)
        if value > 1:
            assert sock.getsockopt(level, option) == value


@pytest.mark.parametrize(
    "option", [socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL]
)
def test_zero_leaves_the_system_default(option: int) -> None:
    """0 does not switch a probe off, it says nothing."""
    with socket.socket() as plain, socket.socket() as tuned:
        tune_socket(tuned, ListenValues())
        assert tuned.getsockopt(TCP, option) == plain.getsockopt(TCP, option)


def test_connections_inherit_from_the_listener() -> None:
    """What a reload no longer says goes back to the system's default."""
    option = (TCP, socket.TCP_KEEPCNT)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        default = listener.getsockopt(*option)
        for settings, count in (
            (ListenValues(tcp_keepcnt=default + 3), default + 3),
            (ListenValues(), default),
        ):
            tune_listener(listener, settings)
            with socket.create_connection(listener.getsockname()):
                accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(*option) == count
                assert accepted.getsockopt(TCP, socket.TCP_NODELAY)


BUFFERS = (socket.SO_SNDBUF, socket.SO_RCVBUF)


def test_buffers_come_from_the_listener() -> None:
    """A peer is offered a window that fits, and never one of a larger buffer before."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tune_listener(listener, ListenValues(tcp_socket_buffer=50_000))
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
        with accepted:
            for option in BUFFERS:
                assert accepted.getsockopt(GENERAL, option) == 100_000


@pytest.mark.parametrize("size", [1, 1152, 1500, 2048])
def test_no_buffer_is_smaller_than_the_least(size: int) -> None:
    """On both ways to a connection: accepted, and connected by ourselves."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as ours:
        tune_listener(listener, ListenValues(tcp_socket_buffer=size))
        size_buffers(ours, ListenValues(tcp_socket_buffer=size))
        ours.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            for sock in (accepted, ours):
                # The system tells the double (socket(7)).
                assert sock.getsockopt(GENERAL, socket.SO_RCVBUF) == 2 * MIN_BUFFER
    assert MIN_BUFFER >= 2048


def test_buffers_of_an_earlier_setting() -> None:
    """Without it the next connections have what they have where it never was."""

    def sizes(listener: socket.socket) -> list[int]:
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
        with accepted:
            # It makes a buffer grow that may.
            accepted.setsockopt(GENERAL, socket.SO_RCVLOWAT, 400_000)
            return [accepted.getsockopt(GENERAL, option) for option in BUFFERS]

    with (
        socket.create_server(("127.0.0.1", 0)) as fresh,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        tune_listener(fresh, ListenValues())
        tune_listener(listener, ListenValues(tcp_socket_buffer=4096))
        tune_listener(listener, ListenValues())
        assert sizes(listener) == sizes(fresh)


def test_refused_before_connecting() -> None:
    """A socket that cannot have them goes without; the next one to be tuned logs it."""
    sock = socket.socket()
    sock.close()
    size_buffers(sock, ListenValues(tcp_socket_buffer=4096))


def test_negative_value_is_no_value() -> None:
    """The system would refuse it, and every client with it."""
    with socket.socket() as sock:
        tune_socket(sock, ListenValues(tcp_keepcnt=-1, tcp_user_timeout=-1))


def test_keepalive_details_need_keepalive() -> None:
    """Without tcp_keepalive the three details are not set."""
    with socket.socket() as sock:
        tune_socket(sock, ListenValues(tcp_keepalive=0, tcp_keepcnt=3))
        assert sock.getsockopt(TCP, socket.TCP_KEEPCNT) != 3


def test_buffers_in_both_directions() -> None:
    """The kernel doubles the value, for its own bookkeeping (socket(7))."""
    with socket.socket() as sock:
        tune_socket(sock, ListenValues(tcp_socket_buffer=50_000))
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            assert sock.getsockopt(GENERAL, option) == 100_000


def test_unix_socket_is_left_alone() -> None:
    """TCP options on another family would be refused by the system."""
    with socket.socket(socket.AF_UNIX) as sock:
        tune_socket(sock, ListenValues(tcp_keepcnt=3, tcp_socket_buffer=50_000))
        assert sock.getsockopt(GENERAL, socket.SO_KEEPALIVE) == 0


def test_defer_accept_can_be_set_and_unset() -> None:
    """0 turns the delay off again."""
    with socket.socket() as sock:
        defer_accept(sock, 5)
        assert sock.getsockopt(TCP, socket.TCP_DEFER_ACCEPT) > 0
        defer_accept(sock, 0)
        assert sock.getsockopt(TCP, socket.TCP_DEFER_ACCEPT) == 0


def test_unknown_option_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without an option goes without it."""
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    with socket.socket() as sock:
        tune_socket(sock, ListenValues(tcp_user_timeout=1300))
