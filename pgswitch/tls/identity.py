"""Whether a server's certificate is for the host that we wanted (verify-full).

By service-identity (RFC 6125).  It takes names from subjectAltName alone; certificates
without one are still in use with PostgreSQL, whose libpq then looks at the common name
(manual, "Client Verification of Server Certificates"), and so do we.
"""

from __future__ import annotations

import ipaddress

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from service_identity.hazmat import DNS_ID, DNSPattern, verify_service_identity

from pgswitch.tls.facts import names_in


class WrongHost(Exception):
    """The certificate is for others; the text names both."""


def verify_host(certificate: x509.Certificate, host: str) -> None:
    """Accept a certificate that is for ``host``, a name or an address as configured.

    A dot at the end, which keeps resolvers from trying other domains, is not part of
    the name.  Raises WrongHost.
    """
    wanted = host.removesuffix(".")
    try:
        if not _has_alternative_names(certificate):
            _verify_common_names(certificate, wanted)
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


def _has_alternative_names(certificate: x509.Certificate) -> bool:
    """Tell whether there is a name or address in subjectAltName."""
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return False
    return any(
        isinstance(name, x509.DNSName | x509.IPAddress) for name in extension.value
    )


def _verify_common_names(certificate: x509.Certificate, host: str) -> None:
    names = names_in(certificate)
    if is_address(host):
        if host not in names:
            raise VerificationError(errors=[])
        return
    patterns = [DNSPattern.from_bytes(name.encode("idna")) for name in names]
    verify_service_identity(patterns, [DNS_ID(host)], [])
