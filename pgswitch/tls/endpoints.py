"""The two sides of TLS: us as the server of clients, us as a client of servers.

An object of either makes OpenSSL's connection objects and says, after the handshake,
whom we are talking to.  Verification by authorities is OpenSSL's, within the handshake;
whether the certificate is for the host that we wanted is checked here, before a byte of
ours goes out.
"""

from __future__ import annotations

from socket import MSG_PEEK
from typing import TYPE_CHECKING

from cryptography import x509
from OpenSSL import SSL

from pgswitch.tls.contexts import (
    ALPN,
    context_for_clients,
    context_for_servers,
    reason_of,
)
from pgswitch.tls.facts import TlsFacts, end_point_of, names_in
from pgswitch.tls.identity import WrongHost, is_address, verify_host

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pgswitch.tls.options import TlsOptions

_GROUP_NAMES = {"secp256r1": "prime256v1", "x25519": "X25519", "x448": "X448"}
"""Names of RFC 8446, and what OpenSSL's older names are, which logs have always had."""


class NoProtocol(Exception):
    """A server took a direct handshake, but did not say that it speaks PostgreSQL's."""


class PeerAlert(Exception):
    """A server has refused our certificate after our part of the handshake."""


class ClientTls:
    """How connections of clients are encrypted."""

    def __init__(self, options: TlsOptions) -> None:
        """Read the files. Raises TlsSetupError."""
        self.options = options
        self._context = context_for_clients(options)
        shown = _read(self.connection(None).get_certificate)
        self._end_point = b"" if shown is None else end_point_of(shown)

    def connection(self, sock: socket.socket | None) -> SSL.Connection:
        """Return a connection on a socket (None: in memory), handshake to come."""
        connection = SSL.Connection(self._context, sock)
        connection.set_accept_state()
        return connection

    def facts(self, connection: SSL.Connection) -> TlsFacts:
        """Return the outcome of a handshake that went well."""
        return _facts(connection, _certificate_of(connection), self._end_point)


class ServerTls:
    """How connections to servers are encrypted."""

    def __init__(self, options: TlsOptions) -> None:
        """Read the files. Raises TlsSetupError."""
        self.options = options
        self._context = context_for_servers(options)

    def connection(self, sock: socket.socket | None, host: str) -> SSL.Connection:
        """Return a connection to ``host``, as configured; handshake to come."""
        connection = SSL.Connection(self._context, sock)
        connection.set_connect_state()
        name = _server_name(host)
        if name:
            connection.set_tlsext_host_name(name)
        return connection

    def facts(self, connection: SSL.Connection, host: str) -> TlsFacts:
        """Return the outcome of a handshake.

        Raises WrongHost when the certificate is for others and that matters,
        NoProtocol, and Objection: with TLS 1.3 we are done before the server has looked
        at ours (RFC 8446, section 4.4.2.4).  Mostly its alert comes later still.
        """
        _hear_alert(connection)
        if self.options.is_direct and connection.get_alpn_proto_negotiated() != ALPN:
            raise NoProtocol("server does not support direct TLS (no ALPN)")
        certificate = _certificate_of(connection)
        if certificate is None:
            if self.options.mode == "verify-full":
                raise WrongHost(f"server certificate for '{host}' cannot be read")
            return _facts(connection, None, b"")
        if self.options.mode == "verify-full":
            verify_host(certificate, host)
        return _facts(connection, certificate, end_point_of(certificate))


def _server_name(host: str) -> bytes:
    """Return the name that the server is asked for, empty if the host has none.

    Addresses are no names, and a dot at the end belongs to none (RFC 6066, section 3).
    """
    if is_address(host):
        return b""
    try:
        return host.removesuffix(".").encode("idna")
    except UnicodeError:
        return b""  # Such as an empty label: no certificate can be for it either.


def _hear_alert(connection: SSL.Connection) -> None:
    """Raise Objection if an alert is there: once a write has failed, none is read."""
    try:
        connection.recv(1, MSG_PEEK)
    except (SSL.WantReadError, SSL.SysCallError, SSL.ZeroReturnError):
        pass
    except SSL.Error as error:
        raise PeerAlert(reason_of(error)) from None


def _certificate_of(connection: SSL.Connection) -> x509.Certificate | None:
    return _read(connection.get_peer_certificate)


def _read(get: Callable[..., x509.Certificate | None]) -> x509.Certificate | None:
    """Return a certificate; None if there is none, or none that can be taken apart.

    OpenSSL takes some that cryptography does not, of another version or with letters
    in a name that do not belong there.  Such a certificate encrypts as well as any, but
    names nobody and binds nothing.
    """
    try:
        return get(as_cryptography=True)
    except (ValueError, x509.InvalidVersion):
        return None


def _facts(
    connection: SSL.Connection, peer: x509.Certificate | None, end_point: bytes
) -> TlsFacts:
    return TlsFacts(
        description=_description(connection),
        peer_names=() if peer is None else names_in(peer),
        end_point=end_point,
    )


def _description(connection: SSL.Connection) -> str:
    """Return version, cipher and key exchange as logs and SHOW have them."""
    text = f"{connection.get_protocol_version_name()}/{connection.get_cipher_name()}"
    group = connection.get_group_name()
    if group is None:
        return text
    kind = "DH" if group.startswith("ffdhe") else "ECDH"
    return f"{text}/{kind}={_GROUP_NAMES.get(group.lower(), group)}"
