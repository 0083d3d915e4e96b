"""What makes a way of authentication impossible, found before anybody tries it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgswitch.auth import ldap, pam
from pgswitch.auth.ldap_options import LdapOptionsError, parse_ldap
from pgswitch.types import AuthType

if TYPE_CHECKING:
    from pgswitch.config.model import Settings


def preload(settings: Settings) -> None:
    """Import what logins will need, while the rights of the start reach it.

    The user that the process becomes may not be able to read the libraries.
    """
    if settings.auth_type in (AuthType.HBA, AuthType.LDAP):
        ldap.is_available()
    if settings.auth_type in (AuthType.HBA, AuthType.PAM):
        pam.is_available()


def problems(settings: Settings) -> list[str]:
    """Return what is wrong with the settings of authentication, for the log."""
    return list(_problems(settings))


def _problems(settings: Settings) -> Iterator[str]:
    kind = settings.auth_type
    if kind is AuthType.CERT:
        if settings.client_tls_sslmode != "verify-full":
            yield "auth_type=cert requires client_tls_sslmode=verify-full"
        if not settings.client_tls_ca_file:
            yield "auth_type=cert requires client_tls_ca_file"
    if kind is AuthType.PAM and not pam.is_available():
        yield "auth_type=pam needs libpam and pip install 'pgswitch[pam]'"
    if kind is AuthType.LDAP and not ldap.is_available():
        yield "auth_type=ldap needs pip install 'pgswitch[ldap]'"
    if settings.auth_ldap_options:
        try:
            parse_ldap(settings.auth_ldap_options)
        except LdapOptionsError as error:
            yield f"auth_ldap_options: {error}"
