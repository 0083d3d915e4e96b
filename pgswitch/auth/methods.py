"""From what a client has to show to the login that asks for it.

==================  ===========================================================
method              who judges
==================  ===========================================================
any, trust, reject  nobody: the verdict is in ``wire/client_auth.py``
plain, md5, scram   the user's secret, there as well
cert                the names in the client's certificate, by the ident map
peer                the operating system's user of a unix socket, likewise
ldap                a directory, ``auth/ldap.py``, in a thread
pam                 PAM, ``auth/pam.py``, in a thread
==================  ===========================================================
"""

from __future__ import annotations

import pwd
from functools import partial
from typing import TYPE_CHECKING, Final

from pgswitch.auth import ldap, pam
from pgswitch.auth.ldap_options import LdapOptionsError, parse_ldap
from pgswitch.errors import LdapOptionsMissing, LdapUnsupported
from pgswitch.types import AuthType, Method
from pgswitch.wire.client_auth import ClientAuthenticator, LoginContext
from pgswitch.wire.password import SecretKind

if TYPE_CHECKING:
    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.hba import AuthRequirement
    from pgswitch.auth.ident import IdentMap
    from pgswitch.auth.user_lookup import User
    from pgswitch.config.model import Settings
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.wire.client_auth import Authority, VerifierCache


_CACHE_LIMIT = 10_000
"""Verifiers kept at once of users that auth_query knows, who may be any number."""

# Final names: the members of an enumeration are looked up anew each time.
_ANY: Final = Method.ANY
_TRUST: Final = Method.TRUST
_LEFT_TO_OTHERS: Final = (Method.CERT, Method.PEER, Method.PAM, Method.LDAP)


class Methods:
    """Makes logins."""

    def __init__(
        self,
        context: ServiceContext,
        store: AuthFile,
        find_servers: ldap.FindServers,
    ) -> None:
        """``find_servers`` asks DNS for the directories of a domain."""
        self._context = context
        self._store = store
        self._find_servers = find_servers
        self._mock_seed = context.random(32)
        self._asked: VerifierCache = {}
        """Verifiers made from clear secrets that auth_query has told."""
        self._usual: LoginContext | None = None
        """Those of logins in clear by a secret: to make them is dear."""

    def login(
        self, client: Frontend, identity: User, requirement: AuthRequirement
    ) -> ClientAuthenticator | None:
        """Return the login of a client, None for one that need not prove anything.

        Raises LdapOptionsMissing, LdapUnsupported.
        """
        method = requirement.method
        if method is _ANY or (method is _TRUST and identity.secret is not None):
            return None
        around = self._usual
        if (
            client.tls is not None
            or identity.asked is not None
            or method in _LEFT_TO_OTHERS
        ):
            around = self._around(client, identity, requirement)
        elif around is None or not self._holds(around):
            around = self._usual = self._around(None, identity, requirement)
        return ClientAuthenticator(method, identity.user, identity.secret, around)

    def _around(
        self, client: Frontend | None, identity: User, requirement: AuthRequirement
    ) -> LoginContext:
        """Return what a login needs; without a client, one in clear with a secret."""
        user = identity.user
        tls = None if client is None else client.tls
        names = () if tls is None else tls.peer_names
        store = self._store
        is_asked = identity.asked is not None
        kinds = store.asked_kinds
        # As long as nobody knows better, users have what PostgreSQL gives them.
        any_scram = not kinds or SecretKind.SCRAM in kinds
        only_scram = kinds <= {SecretKind.SCRAM}
        return LoginContext(
            random=self._context.random,
            mock_seed=self._mock_seed,
            iterations=self._context.configuration.settings.scram_iterations,
            iterations_max=self._context.configuration.settings.scram_iterations_max,
            cache=self._verifiers(identity),
            end_point=b"" if tls is None else tls.end_point,
            authority=None
            if client is None
            else self._authority(client, user, requirement),
            is_proved=any(_is_user(requirement.ident, one, user) for one in names),
            any_scram=any_scram if is_asked else store.any_scram,
            only_scram=only_scram if is_asked else store.only_scram,
            always_derives=is_asked and SecretKind.PLAIN in kinds,
            trusts_authority=not is_asked,
        )

    def _holds(self, usual: LoginContext) -> bool:
        """Tell whether neither RELOAD nor auth_file has changed what was kept."""
        store = self._store
        settings = self._context.configuration.settings
        return (
            usual.iterations == settings.scram_iterations
            and usual.iterations_max == settings.scram_iterations_max
            and usual.any_scram == store.any_scram
            and usual.only_scram == store.only_scram
        )

    def _verifiers(self, identity: User) -> VerifierCache:
        if identity.asked is None:
            return self._store.verifiers
        if len(self._asked) >= _CACHE_LIMIT:
            self._asked.clear()
        return self._asked

    def _authority(
        self, client: Frontend, user: str, requirement: AuthRequirement
    ) -> Authority | None:
        """Return who is asked about a password, or about the peer."""
        if requirement.method is Method.PEER:
            if client.credentials is None:
                return None
            uid = client.credentials[1]
            return lambda _: _is_peer(requirement.ident, uid, user)
        host = "" if client.address.host == "unix" else client.address.host
        if requirement.method is Method.PAM:
            return partial(pam.check, requirement.service, user, host)
        if requirement.method is not Method.LDAP:
            return None
        if not ldap.is_available():
            raise LdapUnsupported
        if requirement.ldap is None:
            raise LdapOptionsMissing
        return partial(ldap.check, requirement.ldap, self._find_servers, user)


def _is_user(ident: IdentMap | None, name: str, user: str) -> bool:
    """Tell whether somebody known elsewhere by this name is the user."""
    return name == user if ident is None else ident.allows(name, user)


def _is_peer(ident: IdentMap | None, uid: int, user: str) -> bool:
    """Tell whether an operating-system user may be the user.

    Asks the system for its name, which may take it a look into the network.
    """
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return False
    return _is_user(ident, name, user)


# Before any login.


def preload(settings: Settings) -> None:
    """Import the libraries of the methods before the process drops its privileges.

    The user that it runs as later may not be able to read them.
    """
    if settings.auth_type in (AuthType.HBA, AuthType.LDAP):
        ldap.is_available()
    if settings.auth_type in (AuthType.HBA, AuthType.PAM):
        pam.is_available()


def problems(settings: Settings) -> list[str]:
    """Return why the settings let nobody authenticate, for the log."""
    found: list[str] = []
    kind = settings.auth_type
    if kind is AuthType.CERT:
        if settings.client_tls_sslmode != "verify-full":
            found.append("auth_type=cert requires client_tls_sslmode=verify-full")
        if not settings.client_tls_ca_file:
            found.append("auth_type=cert requires client_tls_ca_file")
    if kind is AuthType.PAM and not pam.is_available():
        found.append("auth_type=pam needs libpam and pip install 'pgswitch[pam]'")
    if kind is AuthType.LDAP and not ldap.is_available():
        found.append("auth_type=ldap needs pip install 'pgswitch[ldap]'")
    if settings.auth_ldap_options:
        try:
            parse_ldap(settings.auth_ldap_options)
        except LdapOptionsError as error:
            found.append(f"auth_ldap_options: {error}")
    return found
