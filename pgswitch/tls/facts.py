"""What is known of an encrypted connection, for whoever decides or reports by it.

Channel binding (RFC 5929, ``tls-server-end-point``) ties a login to the certificate
that the server of the connection has shown: ours to clients, theirs to us.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

_WEAK = ("md5", "sha1")
"""Signature hashes in whose place SHA-256 is used (RFC 5929, section 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """The outcome of a handshake.

    ``description`` is for people: ``TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519``.
    ``peer_names`` are the names in the certificate of the other end, verified by our
    authorities: see :func:`names_in`; empty if it has shown none.
    ``end_point`` is the tls-server-end-point hash of the certificate that the server of
    this connection has shown; empty if there is none, and then no channel binding.
    """

    description: str
    peer_names: tuple[str, ...] = ()
    end_point: bytes = b""


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return whom a certificate is for: the DNS names of subjectAltName alone.

    Only where it has none of them, the first common name counts (RFC 6125, section
    6.4.4): who issues a certificate for alice is not to let bob in by what else it
    says.  A certificate with a NUL in a name names nobody: what stands behind it is for
    one reader a part of the name and for another not (CVE-2009-2408).  Nor does one
    whose subjectAltName cannot be read.
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
    """Return the names of one kind in subjectAltName; ValueError if it is no valid one.

    Those of x509.DNSName are texts, those of x509.IPAddress addresses.
    """
    try:
        found = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return []
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

    Empty for a signature without one hash of its own, such as Ed25519, or of a kind
    that is not known: then the type ``tls-server-end-point`` is not defined.
    """
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return b""
    if algorithm is None:
        return b""
    if algorithm.name in _WEAK:
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)
