"""What certificates say: their names, their hash, and whether they fit a host.

Channel binding (RFC 5929, ``tls-server-end-point``) ties a login to the certificate
that the server of the connection has shown: ours to clients, theirs to us.

Host names are checked by service-identity (RFC 6125).  It reads subjectAltName only;
certificates without a name or address there are still in use with PostgreSQL.  libpq
then takes the first common name (manual, "Client Verification of Server Certificates"),
and so do we.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from service_identity.hazmat import DNS_ID, DNSPattern, verify_service_identity

_WEAK_HASHES: Final = ("md5", "sha1")
"""Signature hashes that SHA-256 replaces (RFC 5929, section 4.1)."""
_NAME_TYPES: Final = (x509.DNSName, x509.IPAddress)
"""The entries of subjectAltName that name a host."""


class WrongHost(Exception):
    """The certificate is for another host; the text names both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """The outcome of a handshake.

    ``description`` is for people: ``TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519``.
    ``peer_names`` are the names in the peer's certificate, verified by our
    authorities, see :func:`names_in`; empty if the peer has shown none.
    ``end_point`` is the tls-server-end-point hash of the certificate that the server of
    this connection has shown; if it is empty, channel binding is not possible.
    """

    description: str
    peer_names: tuple[str, ...] = ()
    end_point: bytes = b""


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names that a certificate is for: the DNS names of subjectAltName.

    The first common name counts only if there are none (RFC 6125, section 6.4.4): a
    certificate issued for alice must not admit bob because of what else it says.  A
    certificate with a NUL in a name has no names: readers disagree whether what follows
    the NUL belongs to the name (CVE-2009-2408).  Nor has one with an unreadable
    subjectAltName.
    """
    try:
        named = alternative_names(certificate, x509.DNSName)
    except ValueError:
        return ()
    common = common_names(certificate)
    if any("\0" in str(name) for name in (*named, *common)):
        return ()
    return tuple(map(str, named)) or common[:1]


def alternative_names(
    certificate: x509.Certificate, kind: type[x509.DNSName | x509.IPAddress]
) -> list[object]:
    """Return the names of one kind in subjectAltName; ValueError if it is invalid.

    Those of x509.DNSName are texts, those of x509.IPAddress addresses.
    """
    try:
        found = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return []
    except (x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        raise ValueError(str(error)) from error
    return [one.value for one in found.value if isinstance(one, kind)]


def common_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the common names, in their order."""
    values = (
        attribute.value
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    )
    return tuple(
        value if isinstance(value, str) else value.decode("latin-1") for value in values
    )


def end_point_of(certificate: x509.Certificate) -> bytes:
    """Return the hash of a certificate for channel binding (RFC 5929, section 4.1).

    Empty for a signature that does not use one hash of its own, such as Ed25519, or of
    an unknown kind: ``tls-server-end-point`` is not defined for it.
    """
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return b""
    if algorithm is None:
        return b""
    if algorithm.name in _WEAK_HASHES:
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)


def verify_host(certificate: x509.Certificate, host: str) -> None:
    """Accept a certificate that is for ``host``, a name or an address as configured.

    A dot at the end, which keeps resolvers from trying other domains, is not part of
    the name.  Raises WrongHost.
    """
    wanted = host.removesuffix(".")
    try:
        if not any(alternative_names(certificate, kind) for kind in _NAME_TYPES):
            _verify_common_name(certificate, wanted)
        elif is_address(wanted):
            verify_certificate_ip_address(certificate, wanted)
        else:
            verify_certificate_hostname(certificate, wanted)
    except (CertificateError, VerificationError, ValueError) as error:
        names = ", ".join(repr(name) for name in names_in(certificate)) or "nobody"
        raise WrongHost(
            f"server certificate for {names} does not match host name '{host}'"
        ) from error


def is_address(host: str) -> bool:
    """Tell whether a host is given by its IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _verify_common_name(certificate: x509.Certificate, host: str) -> None:
    """Accept by the first common name, the only one that libpq looks at."""
    common = common_names(certificate)
    name = common[0] if common and not any("\0" in one for one in common) else ""
    if is_address(host):
        if host != name:
            raise VerificationError(errors=[])
        return
    patterns = [DNSPattern.from_bytes(name.encode("idna"))] if name else []
    verify_service_identity(patterns, [DNS_ID(host)], [])
