"""Takes clients in: who it is, by which method it proves that, where it goes.

The order of the checks is PgBouncer's, because a client that has proved nothing must
not learn more from the first refusal than there: parameters, limits, the database's own
limits, then the proof; only an authenticated client learns that a database does not
exist.

==========================  ====================================================
step                        where
==========================  ====================================================
the start-up packet         ``wire/startup.py`` (parsed once per packet)
the limits on clients       ``auth/client_counts.py``
the user                    ``auth/user_lookup.py``: auth_file, else auth_query
the method                  ``auth/hba_policy.py``: auth_type, or the HBA file
the proof                   ``auth/methods.py``, ``wire/client_auth.py``
keys for server logins      ``auth/credentials.py``
pool or console             ``auth/session_setup.py``
==========================  ====================================================

The answers are commands for ``net/frontend.py`` (``net/login_commands.py``).  A step
that has to wait (auth_query, names of hosts) returns a Deferred of them; the client's
stream holds back what arrives meanwhile.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from time import time
from typing import TYPE_CHECKING, Final

from pgswitch.auth.client_counts import ClientCounts, check_name
from pgswitch.auth.hba import AuthRequirement
from pgswitch.auth.user_lookup import User, UserLookup
from pgswitch.errors import (
    BouncerConfigError,
    ClientLoginTimeout,
    NotAllowed,
    TooManyClients,
)
from pgswitch.net.console_answers import FairQueue
from pgswitch.net.login_commands import Authenticate
from pgswitch.types import CONSOLE_DATABASES, CONSOLE_USER, AuthType
from pgswitch.wire import constants, encode
from pgswitch.wire.client_auth import Accepted, Offload
from pgswitch.wire.startup import Replication, StartupCache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.credentials import ServerCredentials
    from pgswitch.auth.hba_policy import HbaPolicy
    from pgswitch.auth.methods import Methods
    from pgswitch.auth.session_setup import SessionSetup
    from pgswitch.auth.worker_threads import LoginThreads
    from pgswitch.config.model import DatabaseSpec, Settings
    from pgswitch.errors import Fault
    from pgswitch.net.frontend import Frontend
    from pgswitch.net.login_commands import LoginCommand
    from pgswitch.pool.cancel_keys import CancelKeys
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.tls.endpoints import ClientTls
    from pgswitch.wire.params import Values
    from pgswitch.wire.startup import Startup

_REPLICATION_WORDS = {
    Replication.NONE: "no",
    Replication.LOGICAL: "database",
    Replication.PHYSICAL: "yes",
}
_WITHOUT_SECRETS: Final = (AuthType.ANY, AuthType.LDAP, AuthType.PAM)
"""Methods that take any name, or ask another authority: no user is looked up."""
_ACCEPTED: Final = Accepted()
"""The outcome of a login without an exchange."""


class LoginService:
    """Decides who may log in, by which method, and to which pool."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        store: AuthFile,
        keys: CancelKeys,
        *,
        credentials: ServerCredentials,
        hba_policy: HbaPolicy,
        methods: Methods,
        session_setup: SessionSetup,
        workers: LoginThreads,
    ) -> None:
        """Take the parts that a login passes through."""
        self.context = context
        self.log = context.log
        self.clock = context.clock
        self.sessions = session_setup
        self.rules = session_setup.rules
        self.clients: dict[int, Frontend] = {}
        """Every client connection by number."""
        self.arriving: dict[int, Frontend] = {}
        """Connections that have not logged in yet, oldest first."""
        self.client_counts = ClientCounts()
        self.console_queue = FairQueue(context.later, context.clock)
        self.shutting_down = False
        self._last_served = 0
        """The number of the last connection that may log in during a shutdown."""
        self.workers = workers
        self._keys = keys
        self._hba_policy = hba_policy
        self._methods = methods
        self._credentials = credentials
        self._pools = pools
        self._lookup = UserLookup(context, pools, store)
        self._startup_cache = StartupCache(context.tracking, ())

    # What a frontend asks.

    @property
    def log_pooler_errors(self) -> bool:
        """Whether errors sent to clients are logged."""
        return bool(self._settings.log_pooler_errors)

    @property
    def log_disconnections(self) -> bool:
        """Whether the end of each connection is logged."""
        return self.context.log_disconnections

    @property
    def has_ended(self) -> bool:
        """Whether the process ends at once, without a word to the clients."""
        return self.context.ended

    @property
    def client_tls(self) -> ClientTls | None:
        """TLS for clients over TCP; None if there is none."""
        return self.context.tls.clients

    @property
    def known_packets(self) -> Mapping[bytes, Startup]:
        """Start-up packets that were parsed before, by their bytes."""
        return self._startup_cache.packets

    @property
    def _settings(self) -> Settings:
        return self.context.configuration.settings

    @property
    def listen_port(self) -> int:
        """Our port; the name of the unix socket has it, too."""
        return self._settings.listen_port

    def on_accept(self, frontend: Frontend) -> int:
        """Note a new connection; return its number."""
        number = next(self.context.numbers)
        self.clients[number] = frontend
        self.arriving[number] = frontend
        return number

    def on_login(self, frontend: Frontend) -> None:
        """Note that a client has logged in."""
        self.arriving.pop(frontend.number, None)

    def on_auth_failure(self, frontend: Frontend) -> None:
        """Forget the cached answer of auth_query: the secret may have changed."""
        self._lookup.forget(frontend.identity)

    def on_fault(self, frontend: Frontend, fault: Fault) -> None:
        """Count an error that a client is sent."""
        self.context.failures.note(
            frontend.database, fault.sqlstate, fault.cause, time()
        )

    def on_close(self, frontend: Frontend) -> None:
        """Forget a client."""
        self.clients.pop(frontend.number, None)
        self.arriving.pop(frontend.number, None)
        if frontend.facts is not None:
            self.client_counts.remove(frontend.facts)
        self._keys.revoke(frontend)

    def cancel(self, frontend: Frontend, key: bytes) -> Deferred[str]:
        """Carry out a cancel request."""
        self.arriving.pop(frontend.number, None)
        return self._keys.cancel(frontend, key)

    def offload(self, offload: Offload) -> Deferred[object]:
        """Make a call in a thread; fires with None if it failed."""
        return self.workers.of(offload)(offload.call, offload.owner)

    # Logging in.

    def admit(self, frontend: Frontend, startup: Startup) -> bytes:
        """Check a start-up packet; return NegotiateProtocolVersion if it needs one.

        Raises TooManyClients, or what ``sort_parameters`` raises.
        """
        configuration = self.context.configuration
        settings = configuration.settings
        if self._startup_cache.ignored != settings.ignore_startup_parameters:
            self._startup_cache = StartupCache(
                self.context.tracking, settings.ignore_startup_parameters
            )
        facts, negotiation, parameters = self._startup_cache.parse(startup)
        if facts.database not in configuration.databases:
            facts = replace(facts, database=self._pools.resolve_alias(facts.database))
        frontend.take_startup(facts, parameters)
        self.client_counts.add(facts)
        is_console = facts.database in CONSOLE_DATABASES
        if not is_console and len(self.clients) > settings.max_client_conn:
            raise TooManyClients
        if not negotiation.is_needed:
            return b""
        return encode.negotiate_protocol_version(
            constants.PROTOCOL_3_0, negotiation.options
        )

    def begin_login(
        self, frontend: Frontend
    ) -> list[LoginCommand] | Deferred[list[LoginCommand]]:
        """Find the user that an admitted client names, and have it prove itself.

        Raises the Fault to refuse with, or has the Deferred fail with it.
        """
        facts = frontend.facts
        assert facts is not None  # noqa: S101 - the client is admitted
        if facts.database in CONSOLE_DATABASES and self._is_owner(frontend):
            frontend.log_as(facts.database, facts.user)
            self.log.log(f"{frontend.prefix} pgbouncer access from unix socket")
            self._log_attempt(frontend)
            return self.authenticated(frontend, _ACCEPTED)
        check_name(facts.user)
        spec = self._spec(facts.database)
        self.client_counts.check(self.context, facts, spec)
        auth_type = self._settings.auth_type
        if auth_type in _WITHOUT_SECRETS:
            if auth_type is AuthType.ANY:
                self._check_forced_user(frontend, spec)
            else:
                self._check_no_auth_user(frontend, spec)
            return self._choose_method(frontend, spec, User(facts.user))
        found = self._lookup.find(frontend, spec)
        # In this order, because telling a Deferred apart takes longer.
        if isinstance(found, User):
            return self._choose_method(frontend, spec, found)
        return found.addCallback(partial(self._choose_method, frontend, spec))

    def _choose_method(
        self, frontend: Frontend, spec: DatabaseSpec | None, user: User
    ) -> list[LoginCommand] | Deferred[list[LoginCommand]]:
        """Find out what a client has to prove, now that its user is looked up."""
        is_console = frontend.database in CONSOLE_DATABASES
        auth_type = self._settings.auth_type
        # PAM or a directory may know users that we do not, if a rule says to ask them.
        is_unknown = user.secret is None and auth_type not in _WITHOUT_SECRETS
        exists = (is_console or spec is not None) and not is_unknown
        frontend.identify(user, user.name, frontend.database if exists else None)
        self._log_attempt(frontend)
        if is_console and not is_unknown:
            self._check_console_user(frontend.user)
        requirement = self._hba_policy.requirement(frontend, auth_type)
        if isinstance(requirement, AuthRequirement):
            return self._authenticate(frontend, requirement)
        return requirement.addCallback(partial(self._authenticate, frontend))

    def _authenticate(
        self, frontend: Frontend, requirement: AuthRequirement
    ) -> list[LoginCommand]:
        """Have the client prove what is required, if anything is."""
        authenticator = self._methods.login(frontend, frontend.identity, requirement)
        if authenticator is None:
            return self.authenticated(frontend, _ACCEPTED)
        return [Authenticate(authenticator)]

    def authenticated(
        self, frontend: Frontend, outcome: Accepted
    ) -> list[LoginCommand]:
        """Return how a client goes on that has authenticated: in a pool or the console.

        Raises NotAllowed, NoSuchDatabase, DatabaseDisabled or PoolerShuttingDown.
        """
        if frontend.database in CONSOLE_DATABASES:
            is_owner = self._is_owner(frontend)
            if not is_owner:
                self._check_console_user(frontend.user)
            is_admin = is_owner or frontend.user in self._settings.admin_users
            return self.sessions.enter_console(
                frontend, is_admin=is_admin, is_owner=is_owner
            )
        spec = self._spec(frontend.database)
        if spec is not None:
            self._credentials.remember(spec, frontend.identity, outcome)
        is_late = self.shutting_down and frontend.number > self._last_served
        return self.sessions.enter_pool(frontend, spec, shutting_down=is_late)

    def readmit(self, frontend: Frontend, spec: DatabaseSpec, values: Values) -> None:
        """Take a client that has logged in to another process to its pool.

        ``values`` are its tracked parameters.
        """
        assert frontend.facts is not None  # noqa: S101 - adopt_session has set it
        self.client_counts.add(frontend.facts)
        frontend.identify(User(frontend.user), frontend.user, frontend.database)
        self._keys.keep(frontend)
        frontend.start_relay(self.sessions.reenter_pool(frontend, spec, values))

    def refuse_logins(self, *, serve_present: bool = False) -> None:
        """Refuse logins; with ``serve_present`` only those of later connections.

        A second call readmits no connection that the first has refused.
        """
        if not serve_present:
            self._last_served = 0
        elif not self.shutting_down:
            self._last_served = max(self.clients, default=0)
        self.shutting_down = True

    def reloaded(self) -> None:
        """Forget the cached answers of auth_query: the files have been read again."""
        self._lookup.forget_all()

    # Single steps.

    def _log_attempt(self, frontend: Frontend) -> None:
        if not self._settings.log_connections or frontend.facts is None:
            return
        replication = _REPLICATION_WORDS[frontend.facts.replication]
        tls = "no" if frontend.tls is None else frontend.tls.description
        self.log.log(
            f"{frontend.prefix} login attempt: db={frontend.database}"
            f" user={frontend.user} tls={tls} replication={replication}"
        )

    def _spec(self, name: str) -> DatabaseSpec | None:
        """Return the entry of a database, as ``Configuration.database`` does.

        Most databases have an entry of their own; finding it takes no Python call.
        """
        configuration = self.context.configuration
        own: DatabaseSpec | None = configuration.databases.get(name)
        return configuration.database(name) if own is None else own

    def _is_owner(self, frontend: Frontend) -> bool:
        """Tell whether the client is the OS user that runs us, on the unix socket."""
        return (
            frontend.user == CONSOLE_USER
            and frontend.credentials is not None
            and frontend.credentials[1] == os.geteuid()
        )

    def _check_console_user(self, user: str) -> None:
        """Refuse users that are no admins or stats users, except under ``any``."""
        settings = self._settings
        if settings.auth_type is AuthType.ANY:
            return
        if user not in settings.admin_users and user not in settings.stats_users:
            raise NotAllowed

    def _check_forced_user(self, frontend: Frontend, spec: DatabaseSpec | None) -> None:
        if frontend.database in CONSOLE_DATABASES:
            return
        if spec is None or spec.user is None:
            self.log.error(f"{frontend.prefix} auth_type=any requires forced user")
            raise BouncerConfigError(
                detail="auth_type=any requires user= on the database's line."
            )

    def _check_no_auth_user(
        self, frontend: Frontend, spec: DatabaseSpec | None
    ) -> None:
        if self._lookup.auth_user(spec) is not None:
            reason = f"auth_type={self._settings.auth_type} goes with no auth_user."
            self.log.error(f"{frontend.prefix} {reason}")
            raise BouncerConfigError(detail=reason)

    # Time limits.

    def sweep(self, now: float) -> None:
        """End logins that take too long."""
        limit = self._settings.client_login_timeout
        if limit:
            for frontend in list(self.arriving.values()):
                if now - frontend.connected_at <= limit:
                    break
                if frontend.pool is None:
                    frontend.disconnect(ClientLoginTimeout())
