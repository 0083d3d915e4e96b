"""Whether a server's certificate is for the host that we wanted (verify-full).

By service-identity (RFC 6125).  It takes names from subjectAltName alone; certificates
that have neither name nor address there are still in use with PostgreSQL, whose libpq
then looks at the first common name (manual, "Client Verification of Server
Certificates"), and so do we.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from service_identity.hazmat import DNS_ID, DNSPattern, verify_service_identity

from pgswitch.tls.facts import alternative_names, common_names, names_in

_KINDS: Final = (x509.DNSName, x509.IPAddress)
"""What hosts are named by in subjectAltName."""


class WrongHost(Exception):
    """The certificate is for others; the text names both."""


def verify_host(certificate: x509.Certificate, host: str) -> None:
    """Accept a certificate that is for ``host``, a name or an address as configured.

    A dot at the end, which keeps resolvers from trying other domains, is not part of
    the name.  Raises WrongHost.
    """
    wanted = host.removesuffix(".")
    try:
        if not any(alternative_names(certificate, kind) for kind in _KINDS):
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
    """Accept by the first common name, as libpq does, which is all it looks at."""
    common = common_names(certificate)
    name = common[0] if common and not any("\0" in one for one in common) else ""
    if is_address(host):
        if host != name:
            raise VerificationError(errors=[])
        return
    patterns = [DNSPattern.from_bytes(name.encode("idna"))] if name else []
    verify_service_identity(patterns, [DNS_ID(host)], [])
