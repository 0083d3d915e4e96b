"""Makes the authentication that an :class:`AuthRequirement` asks for.

==================  ===========================================================
method              what decides
==================  ===========================================================
any, trust, reject  the method itself, in ``wire/client_auth.py``
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
from pgswitch.auth.ldap import LdapOptionsError, parse_ldap
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
"""Cached verifiers of users of auth_query; these may be any number."""

# Final names, because each use of an enumeration's member costs a look-up.
_ANY: Final = Method.ANY
_TRUST: Final = Method.TRUST
_BY_AUTHORITY: Final = (Method.CERT, Method.PEER, Method.PAM, Method.LDAP)


class Methods:
    """Makes the authentications of clients."""

    def __init__(
        self,
        context: ServiceContext,
        store: AuthFile,
        find_servers: ldap.FindServers,
    ) -> None:
        """``find_servers`` looks up the directories of a domain in DNS."""
        self._context = context
        self._store = store
        self._find_servers = find_servers
        self._mock_seed = context.random(32)
        self._query_verifiers: VerifierCache = {}
        """Verifiers of clear secrets that auth_query has returned."""
        self._cached_context: LoginContext | None = None
        """For logins without TLS by a secret in auth_file; expensive to build."""

    def login(
        self, client: Frontend, user: User, requirement: AuthRequirement
    ) -> ClientAuthenticator | None:
        """Return the authentication of a client, None if it need not prove anything.

        Raises LdapOptionsMissing, LdapUnsupported.
        """
        method = requirement.method
        if method is _ANY or (method is _TRUST and user.secret is not None):
            return None
        context = self._cached_context
        if (
            client.tls is not None
            or user.auth_query is not None
            or method in _BY_AUTHORITY
        ):
            context = self._login_context(client, user, requirement)
        elif context is None or not self._is_current(context):
            context = self._login_context(None, user, requirement)
            self._cached_context = context
        return ClientAuthenticator(method, user.name, user.secret, context)

    def _login_context(
        self, client: Frontend | None, user: User, requirement: AuthRequirement
    ) -> LoginContext:
        """Return the context of a login; without a client, of one that is cached."""
        name = user.name
        tls = None if client is None else client.tls
        names = () if tls is None else tls.peer_names
        store = self._store
        is_queried = user.auth_query is not None
        kinds = store.auth_query_kinds
        # Before the first answer of auth_query, we assume PostgreSQL's default, SCRAM.
        any_scram = not kinds or SecretKind.SCRAM in kinds
        only_scram = kinds <= {SecretKind.SCRAM}
        return LoginContext(
            random=self._context.random,
            mock_seed=self._mock_seed,
            iterations=self._context.configuration.settings.scram_iterations,
            iterations_max=self._context.configuration.settings.scram_iterations_max,
            cache=self._verifiers(user),
            end_point=b"" if tls is None else tls.end_point,
            authority=None
            if client is None
            else self._authority(client, name, requirement),
            is_proved=any(_is_user(requirement.ident, one, name) for one in names),
            any_scram=any_scram if is_queried else store.any_scram,
            only_scram=only_scram if is_queried else store.only_scram,
            always_derives=is_queried and SecretKind.PLAIN in kinds,
            trusts_authority=not is_queried,
        )

    def _is_current(self, context: LoginContext) -> bool:
        """Tell whether the settings and auth_file are those that it was made of."""
        store = self._store
        settings = self._context.configuration.settings
        return (
            context.iterations == settings.scram_iterations
            and context.iterations_max == settings.scram_iterations_max
            and context.any_scram == store.any_scram
            and context.only_scram == store.only_scram
        )

    def _verifiers(self, user: User) -> VerifierCache:
        if user.auth_query is None:
            return self._store.verifiers
        if len(self._query_verifiers) >= _CACHE_LIMIT:
            self._query_verifiers.clear()
        return self._query_verifiers

    def _authority(
        self, client: Frontend, user: str, requirement: AuthRequirement
    ) -> Authority | None:
        """Return what checks a password, or the peer, if that is not a secret."""
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
    """Tell whether the user has this name outside, by the ident map if any."""
    return name == user if ident is None else ident.allows(name, user)


def _is_peer(ident: IdentMap | None, uid: int, user: str) -> bool:
    """Tell whether an operating-system user may be the user.

    Looks up the name of the system's user, which may take a query over the network.
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
