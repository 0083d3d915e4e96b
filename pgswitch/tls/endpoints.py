"""Both ends of TLS: we are the server of clients and a client of servers.

:class:`ClientTls` and :class:`ServerTls` make OpenSSL's connection objects and report,
after the handshake, whom we are talking to.  OpenSSL verifies certificates against our
authorities within the handshake; whether a certificate is for the host that we wanted
is checked here, before we send a byte.

:class:`TlsContexts` has those in force.  A reload builds all of them again, because a
file's content may have changed under the same name, and puts them in force only if all
can be built.  A connection keeps the context that it was made with.
"""

from __future__ import annotations

from socket import MSG_PEEK
from typing import TYPE_CHECKING

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from pgswitch.tls import contexts
from pgswitch.tls.certificates import (
    TlsFacts,
    WrongHost,
    end_point_of,
    is_address,
    names_in,
    verify_host,
)
from pgswitch.tls.contexts import (
    ALPN,
    TlsSetupError,
    context_for_clients,
    context_for_servers,
    reason_of,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.protocols.tls import TLSMemoryBIOProtocol

    from pgswitch.config.model import Configuration, DatabaseSpec, Settings
    from pgswitch.tls.contexts import TlsOptions

_GROUP_NAMES = {"secp256r1": "prime256v1", "x25519": "X25519", "x448": "X448"}
"""Names of RFC 8446, and OpenSSL's older ones, which logs have always shown."""


class NoProtocol(Exception):
    """A server took a direct handshake, but did not say that it speaks PostgreSQL's."""


class PeerAlert(Exception):
    """A server has refused our certificate after our part of the handshake."""


@implementer(IOpenSSLServerConnectionCreator)
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

    def serverConnectionForTLS(
        self,
        tlsProtocol: TLSMemoryBIOProtocol,  # noqa: ARG002 - verifies for itself
    ) -> SSL.Connection:
        """Return a connection for Twisted's own TLS, see ``transport.startTLS``."""
        return self.connection(None)

    def facts(self, connection: SSL.Connection) -> TlsFacts:
        """Return the outcome of a successful handshake."""
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

        Raises WrongHost when the certificate is for another host and that matters,
        NoProtocol, and PeerAlert: with TLS 1.3 we finish before the server has looked
        at our certificate (RFC 8446, section 4.4.2.4).  Its alert usually comes later.
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
    """Return the server name to send (SNI), empty if the host has none.

    An address is not a name, and a name has no dot at its end (RFC 6066, section 3).
    """
    if is_address(host):
        return b""
    try:
        return host.removesuffix(".").encode("idna")
    except UnicodeError:
        return b""  # For example an empty label: no certificate can be for it either.


def _hear_alert(connection: SSL.Connection) -> None:
    """Raise PeerAlert if an alert has come: after a failed write, none can be read."""
    try:
        connection.recv(1, MSG_PEEK)
    except (SSL.WantReadError, SSL.SysCallError, SSL.ZeroReturnError):
        pass
    except SSL.Error as error:
        raise PeerAlert(reason_of(error)) from None


def _certificate_of(connection: SSL.Connection) -> x509.Certificate | None:
    return _read(connection.get_peer_certificate)


def _read(get: Callable[..., x509.Certificate | None]) -> x509.Certificate | None:
    """Return a certificate; None if there is none, or if it cannot be parsed.

    OpenSSL accepts some that cryptography rejects, of another version or with invalid
    characters in a name.  Such a certificate encrypts as well as any other, but has no
    names and cannot be used for channel binding.
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


class TlsContexts:
    """The contexts in force: one for clients, one for each kind of server."""

    def __init__(self, configuration: Configuration) -> None:
        """Build everything. Raises TlsSetupError."""
        self.clients: ClientTls | None
        """None if clients are not offered TLS."""
        self.is_current = True
        """The contexts are those of the configuration in force."""
        self._settings: Settings
        self._servers: dict[TlsOptions, ServerTls]
        self.configure(configuration)

    def configure(self, configuration: Configuration) -> None:
        """Read all files again. Raises TlsSetupError and then changes nothing."""
        self.is_current = False
        settings = configuration.settings
        options = contexts.for_clients(settings)
        clients = None if options.mode == contexts.DISABLE else ClientTls(options)
        servers = {
            options: ServerTls(options) for options in _to_servers(configuration)
        }
        self.clients, self._settings, self._servers = clients, settings, servers
        self.is_current = True

    def server(self, spec: DatabaseSpec) -> ServerTls | None:
        """Return how servers of a database are connected to; None: in clear.

        Raises TlsSetupError for a database that came with a reload whose TLS could not
        be put in force: rather no connection than one in clear.
        """
        options = contexts.for_servers(self._settings, spec)
        if options.mode == contexts.DISABLE:
            return None
        if options not in self._servers:
            self._servers[options] = ServerTls(options)
        return self._servers[options]


def problems(configuration: Configuration) -> list[str]:
    """Return why the TLS settings cannot be put in force, one text for each reason."""
    found: list[str] = []

    def attempt(make: Callable[[TlsOptions], object], options: TlsOptions) -> None:
        try:
            make(options)
        except TlsSetupError as error:
            found.append(str(error))

    of_clients = contexts.for_clients(configuration.settings)
    if of_clients.mode != contexts.DISABLE:
        attempt(ClientTls, of_clients)
    for options in _to_servers(configuration):
        attempt(ServerTls, options)
    return found


def _to_servers(configuration: Configuration) -> list[TlsOptions]:
    """Return the different TLS options of all databases, in their order."""
    settings = configuration.settings
    wanted = [contexts.for_servers(settings)]
    wanted += (
        contexts.for_servers(settings, spec)
        for spec in configuration.databases.values()
    )
    return [one for one in dict.fromkeys(wanted) if one.mode != contexts.DISABLE]
