"""Both ways to OpenSSL: pyOpenSSL's inner names, and its outer ones."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib

from pgswitch.net import tls_socket
from pgswitch.net.tls_socket import (
    RECORD,
    ReadFunction,
    WriteFunction,
    internal_functions,
)
from pgswitch.tls.contexts import TlsOptions
from pgswitch.tls.endpoints import ServerTls
from tests.unit.net.tls_pair import side_for_clients
from tests.unit.tls.shaking import carry, shake_hands

INNER = internal_functions()
OUTER = (tls_socket.public_read, tls_socket.public_write)


@pytest.fixture
def ends(tmp_path: Path) -> tuple[SSL.Connection, SSL.Connection]:
    """Return both ends of a connection in memory."""
    near = side_for_clients(tmp_path).connection(None)
    far = ServerTls(TlsOptions(mode="require")).connection(None, "localhost")
    shake_hands(far, near)
    return near, far


def test_the_inner_ones_are_there() -> None:
    """This version of pyOpenSSL has them, and they are used."""
    assert INNER is not None
    connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    assert tls_socket.io_functions(connection)[0] is not tls_socket.public_read
    stand_in: Any = object()
    assert tls_socket.io_functions(stand_in) == OUTER


@pytest.mark.parametrize("ways", [INNER, OUTER], ids=["inner", "outer"])
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_both_ways(
    ends: tuple[SSL.Connection, SSL.Connection],
    ways: tuple[ReadFunction, WriteFunction],
    kind: Callable[[bytes], bytes],
) -> None:
    """They give the same, a record at a time, and raise the same."""
    read, write = ways
    near, far = ends
    data = bytes(range(256)) * 100
    assert write(near, kind(data)) == RECORD
    assert write(near, kind(data[RECORD:])) == len(data) - RECORD
    carry(near, far)
    assert read(far) == data[:RECORD]
    assert read(far) == data[RECORD:]
    with pytest.raises(SSL.WantReadError):
        read(far)
    near.shutdown()
    carry(near, far)
    with pytest.raises(SSL.ZeroReturnError):
        read(far)
    with pytest.raises(SSL.Error):
        write(near, kind(b"too late"))


def test_errors_are_not_left_behind(tmp_path: Path) -> None:
    """The next call of another connection would be thought to have failed."""
    assert INNER is not None
    _read, write = INNER
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        theirs.settimeout(0)
        near = side_for_clients(tmp_path).connection(theirs)
        far = ServerTls(TlsOptions(mode="require")).connection(ours, "localhost")
        for one in (far, near, far, near):
            with suppress(SSL.WantReadError):
                one.do_handshake()
        theirs.close()
        with pytest.raises(SSL.SysCallError):
            write(far, b"x")
        assert lib.ERR_peek_error() == 0


@pytest.mark.parametrize("lost", ["module", "function", "method"])
def test_a_version_without(monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """Whichever of the names is missing, the outer ones are left."""
    if lost == "module":
        monkeypatch.setitem(sys.modules, "OpenSSL._util", None)
    elif lost == "function":
        monkeypatch.setattr("OpenSSL._util.lib", object())
    else:
        monkeypatch.delattr(SSL.Connection, "_raise_ssl_error")
    assert internal_functions() is None
