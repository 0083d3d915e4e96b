"""What this machine knows of addresses."""

from __future__ import annotations

import socket

import pytest

from pgswitch.auth import local_network
from pgswitch.auth.hba import SameNet, plain_address


@pytest.mark.parametrize(
    ("address", "host", "net"),
    [
        ("127.0.0.1", True, True),
        ("127.9.9.9", False, True),
        ("203.0.113.9", False, False),
    ],
)
def test_near(address: str, *, host: bool, net: bool) -> None:
    """Loopback is ours, its network near, a documentation address neither."""
    known = plain_address(address)
    assert local_network.is_near(SameNet.SAMEHOST, known) is host
    assert local_network.is_near(SameNet.SAMENET, known) is net


def answers(monkeypatch: pytest.MonkeyPatch, name: str | None, *back: str) -> None:
    """Have the name service say so."""

    def getnameinfo(address: tuple[str, int], flags: int) -> tuple[str, str]:
        assert flags & socket.NI_NAMEREQD
        if name is None:
            raise socket.gaierror(socket.EAI_NONAME, "no name")
        return name, str(address[1])

    def getaddrinfo(asked: str, _port: None, **_: object) -> list[tuple[object, ...]]:
        assert asked == name
        return [(0, 0, 0, "", (one, 0)) for one in back]

    monkeypatch.setattr(socket, "getnameinfo", getnameinfo)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name counts when it leads back; who owns the address alone proves nothing."""
    answers(monkeypatch, "a.example", "192.0.2.1", "192.0.2.7")
    assert local_network.reverse_lookup("192.0.2.7") == ("a.example",)
    answers(monkeypatch, "forged.example", "192.0.2.1")
    assert local_network.reverse_lookup("192.0.2.7") == ()
    answers(monkeypatch, None)
    assert local_network.reverse_lookup("192.0.2.7") == ()
