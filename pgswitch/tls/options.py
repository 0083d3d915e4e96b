"""The TLS settings, as one value for each side.

Equal values make equal contexts, so contexts are stored under them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgswitch.config.units import TLS_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgswitch.config.model import DatabaseSpec, Settings

DISABLE = "disable"
REQUIRING = ("require", "verify-ca", "verify-full")
"""Modes that refuse a connection without TLS."""
VERIFYING = ("verify-ca", "verify-full")
VERSIONS = ("tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3")
"""From the oldest to the newest."""

_GROUPS = {
    "tlsv1": VERSIONS,
    "all": VERSIONS,
    "secure": VERSIONS[2:],
    "default": VERSIONS[2:],
}
_DEFAULT_CIPHERS = ("default", "secure", "normal", "fast")
"""Words for the library's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """The settings of one side, ``client_tls_`` or ``server_tls_``.

    See the settings ``sslnegotiation`` and ``..._protocols`` for ``is_direct`` and
    ``protocols``; a file that is not set is empty.
    """

    mode: str
    key_file: str = ""
    cert_file: str = ""
    ca_file: str = ""
    protocols: tuple[str, ...] = ("secure",)
    ciphers: str = "default"
    tls13_ciphers: str | None = None
    ecdhcurve: str = "auto"
    dheparams: str = "auto"
    is_direct: bool = False

    @property
    def is_required(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.mode in REQUIRING

    @property
    def verifies(self) -> bool:
        """Whether the peer must present a certificate of our authorities."""
        return self.mode in VERIFYING

    @property
    def asks_clients(self) -> bool:
        """Whether we request client certificates, and verify them."""
        return self.mode != DISABLE and (self.verifies or bool(self.ca_file))

    @property
    def cipher_list(self) -> str | None:
        """The cipher list for OpenSSL, up to TLS 1.2; None for its own."""
        is_default = not self.ciphers or self.ciphers.lower() in _DEFAULT_CIPHERS
        return None if is_default else self.ciphers


def for_clients(settings: Settings) -> TlsOptions:
    """Return the options of connections from clients."""
    return TlsOptions(
        mode=settings.client_tls_sslmode,
        key_file=settings.client_tls_key_file,
        cert_file=settings.client_tls_cert_file,
        ca_file=settings.client_tls_ca_file,
        protocols=tuple(settings.client_tls_protocols),
        ciphers=settings.client_tls_ciphers,
        tls13_ciphers=settings.client_tls13_ciphers,
        ecdhcurve=settings.client_tls_ecdhcurve,
        dheparams=settings.client_tls_dheparams,
    )


def for_servers(settings: Settings, spec: DatabaseSpec | None = None) -> TlsOptions:
    """Return the options for servers: a database's own keys, else the settings."""

    def value(name: str) -> str:
        own: str | None = None if spec is None else getattr(spec, name)
        of_all: str = getattr(settings, name)
        return of_all if own is None else own

    return TlsOptions(
        mode=value("server_tls_sslmode"),
        key_file=value("server_tls_key_file"),
        cert_file=value("server_tls_cert_file"),
        ca_file=value("server_tls_ca_file"),
        protocols=tuple(value("server_tls_protocols")),
        ciphers=value("server_tls_ciphers"),
        tls13_ciphers=value("server_tls13_ciphers"),
        ecdhcurve=value("server_tls_ecdhcurve"),
        is_direct=spec is not None and spec.sslnegotiation == "direct",
    )


def versions_in(words: Iterable[str]) -> tuple[str, ...]:
    """Return the VERSIONS that a list such as ``all,!tlsv1.0`` leaves, oldest first.

    A word adds versions, one after ``!`` removes them; a list whose first word removes
    starts with all versions.
    """
    chosen: set[str] = set()
    for word in words:
        name = word.lower().removeprefix("!")
        group = _GROUPS.get(name, (name,) if name in TLS_PROTOCOLS else ())
        if word.startswith("!"):
            chosen = (chosen or set(VERSIONS)) - set(group)
        else:
            chosen |= set(group)
    return tuple(version for version in VERSIONS if version in chosen)
