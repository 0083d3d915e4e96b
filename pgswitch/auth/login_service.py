"""Receives clients: who, from where, to which database; by which method; the verdict.

The order of the checks is PgBouncer's, because what a stranger learns from the
first refusal depends on it: parameters, limits, the database's own limits, then the
proof; and only somebody who has proved a name hears that a database does not exist.

==========================  ====================================================
step                        where
==========================  ====================================================
what is asked for           ``wire/startup_cache.py``
is there room               ``auth/client_counts.py``
who is it                   ``auth/user_lookup.py``: auth_file, else auth_query
what has it to show         ``auth/hba_policy.py``: auth_type, or the HBA file
the proof                   ``auth/methods.py``, ``wire/client_auth.py``
what the proof taught us    ``auth/credentials.py``
pool or console, welcome    ``auth/session_setup.py``
==========================  ====================================================

A step that has to wait (auth_query, names of hosts) returns a Deferred, and the next
one follows it; the client's connection holds what it sends meanwhile.
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
from pgswitch.types import CONSOLE_DATABASES, CONSOLE_USER, AuthType
from pgswitch.wire import constants, encode
from pgswitch.wire.client_auth import Accepted, ClientAuthenticator, Offload
from pgswitch.wire.startup import Replication
from pgswitch.wire.startup_cache import ParsedStartup, StartupCache

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
    from pgswitch.logs import Log
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.cancel_keys import CancelKeys
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.tls.endpoints import ClientTls
    from pgswitch.wire.params import Values
    from pgswitch.wire.startup import Startup
    from pgswitch.wire.welcome import Welcome

_REPLICATION_WORDS = {
    Replication.NONE: "no",
    Replication.LOGICAL: "database",
    Replication.PHYSICAL: "yes",
}
_WITHOUT_SECRETS: Final = (AuthType.ANY, AuthType.LDAP, AuthType.PAM)
"""Methods that believe a name, or ask others about it: there is no one to look up."""


class LoginService:
    """The reception of net/frontend.py."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        store: AuthFile,
        keys: CancelKeys,
        *,
        credentials: ServerCredentials,
        decision: HbaPolicy,
        methods: Methods,
        session_setup: SessionSetup,
        workers: LoginThreads,
    ) -> None:
        """Take the parts that a login passes through."""
        self.context = context
        self.clients: dict[int, Frontend] = {}
        """Every client connection by number."""
        self.arriving: dict[int, Frontend] = {}
        """Those that have not logged in yet, oldest first."""
        self.client_counts = ClientCounts()
        self.console_queue = FairQueue(context.later, context.clock)
        self.shutting_down = False
        self._last_guest = 0
        """The number of the last connection that is served in a shutdown."""
        self.workers = workers
        self._keys = keys
        self._decision = decision
        self._methods = methods
        self._credentials = credentials
        self._session_setup = session_setup
        self._pools = pools
        self._lookup = UserLookup(context, pools, store)
        self._judge_by = StartupCache(context.tracking, ())

    # What a frontend asks.

    @property
    def log(self) -> Log:
        """Return the log of the service."""
        return self.context.log

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
        """Whether the process ends at once, which nobody is told."""
        return self.context.ended

    @property
    def client_tls(self) -> ClientTls | None:
        """How clients over TCP may be encrypted; None: not at all."""
        return self.context.tls.clients

    @property
    def known_packets(self) -> Mapping[bytes, Startup]:
        """Start-up packets that were judged before."""
        return self._judge_by.packets

    @property
    def _settings(self) -> Settings:
        return self.context.configuration.settings

    @property
    def listen_port(self) -> int:
        """Our port, which stands in the name of the unix socket too."""
        return self._settings.listen_port

    def clock(self) -> float:
        """Return monotonic seconds."""
        return self.context.clock()

    def on_accept(self, frontend: Frontend) -> int:
        """Note a new connection; return its number."""
        number = next(self.context.numbers)
        self.clients[number] = frontend
        self.arriving[number] = frontend
        return number

    def on_fault(self, frontend: Frontend, fault: Fault) -> None:
        """Count an error that a client is told of."""
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

    # Logging in.

    def begin_login(
        self, frontend: Frontend, startup: Startup
    ) -> ClientAuthenticator | Deferred[ClientAuthenticator | None] | None:
        """Check a start-up packet; return the login, None if none is needed."""
        configuration = self.context.configuration
        settings = configuration.settings
        facts, negotiation, frontend.wanted = self._judge(startup)
        if facts.database not in configuration.databases:
            facts = replace(facts, database=self._pools.resolve_alias(facts.database))
        frontend.facts = facts
        self.client_counts.add(facts)
        frontend.user, frontend.database = facts.user, facts.database
        is_console = facts.database in CONSOLE_DATABASES
        if not is_console and len(self.clients) > settings.max_client_conn:
            raise TooManyClients
        if negotiation.is_needed:
            frontend.stream.send(
                encode.negotiate_protocol_version(
                    constants.PROTOCOL_3_0, negotiation.options
                )
            )
        if is_console and self._is_owner(frontend):
            frontend.log_names = facts.database, facts.user
            self.log.log(f"{frontend.prefix} pgbouncer access from unix socket")
            self._log_attempt(frontend)
            return None
        check_name(facts.user)
        spec = self._spec(facts.database)
        self.client_counts.check(self.context, facts, spec)
        if settings.auth_type in _WITHOUT_SECRETS:
            if settings.auth_type is AuthType.ANY:
                self._check_forced_user(frontend, spec)
            else:
                self._check_no_auth_user(frontend, spec)
            return self._ask(frontend, spec, User(facts.user))
        found = self._lookup.find(frontend, spec)
        # Asked in this order, as to tell whether something is a Deferred takes long.
        if isinstance(found, User):
            return self._ask(frontend, spec, found)
        return found.addCallback(partial(self._ask, frontend, spec))

    def _ask(
        self, frontend: Frontend, spec: DatabaseSpec | None, identity: User
    ) -> ClientAuthenticator | Deferred[ClientAuthenticator | None] | None:
        """Return the login of a client, now that it is known who it claims to be."""
        frontend.identity = identity
        frontend.user = identity.user
        is_console = frontend.database in CONSOLE_DATABASES
        settings = self._settings
        # A directory or PAM may know whom we do not, where a rule says to ask them.
        is_stranger = (
            identity.secret is None and settings.auth_type not in _WITHOUT_SECRETS
        )
        is_there = is_console or spec is not None
        shown = frontend.database if is_there and not is_stranger else None
        frontend.log_names = shown, identity.user
        self._log_attempt(frontend)
        if is_console and not is_stranger:
            self._check_console_user(frontend.user)
        demand = self._decision.demand(frontend, settings.auth_type)
        if isinstance(demand, AuthRequirement):
            return self._methods.login(frontend, identity, demand)
        return demand.addCallback(partial(self._methods.login, frontend, identity))

    def work(self, work: Offload) -> Deferred[object]:
        """Do what a login needs done in a thread; fires with None if it failed."""
        return self.workers.of(work)(work.call, work.whose)

    def accepted(self, frontend: Frontend, outcome: Accepted) -> None:
        """Take a client that has authenticated to its pool or to the console."""
        if frontend.database in CONSOLE_DATABASES:
            is_owner = self._is_owner(frontend)
            if not is_owner:
                self._check_console_user(frontend.user)
            is_admin = is_owner or frontend.user in self._settings.admin_users
            self.arriving.pop(frontend.number, None)
            self._session_setup.enter_console(
                frontend, is_admin=is_admin, is_owner=is_owner
            )
            return
        spec = self._spec(frontend.database)
        if spec is not None:
            self._credentials.remember(spec, frontend.identity, outcome)
        is_late = self.shutting_down and frontend.number > self._last_guest
        self._session_setup.enter_pool(frontend, spec, shutting_down=is_late)

    def readmit(self, frontend: Frontend, spec: DatabaseSpec, values: Values) -> None:
        """Take a client that has logged in to another process to its pool.

        ``values`` are its tracked parameters.
        """
        assert frontend.facts is not None  # noqa: S101 - go_on_with has set it
        self.arriving.pop(frontend.number, None)
        self.client_counts.add(frontend.facts)
        frontend.identity = User(frontend.user)
        self._keys.keep(frontend)
        self._session_setup.readmit(frontend, spec, values)

    def refused(self, frontend: Frontend) -> None:
        """Note that a client did not prove itself."""
        self._lookup.forget(frontend.identity)

    def welcome(self, frontend: Frontend, welcome: Welcome) -> None:
        """Begin the relay of a client, now that its servers' parameters are known."""
        self.arriving.pop(frontend.number, None)
        self._session_setup.welcome(frontend, welcome)

    def revive(self, frontend: Frontend) -> None:
        """Begin the relay of a welcomed client once more."""
        self._session_setup.revive(frontend)

    def refuse_logins(self, *, serve_present: bool = False) -> None:
        """Refuse logins, but for those who are connected already if they are served.

        Called again, who has been refused before is so still.
        """
        if not serve_present:
            self._last_guest = 0
        elif not self.shutting_down:
            self._last_guest = max(self.clients, default=0)
        self.shutting_down = True

    def reloaded(self) -> None:
        """Ask anew about users of whom auth_query has told, now that files are read."""
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

    def _judge(self, startup: Startup) -> ParsedStartup:
        ignored = self._settings.ignore_startup_parameters
        if self._judge_by.ignored != ignored:
            self._judge_by = StartupCache(self.context.tracking, ignored)
        return self._judge_by.startup_cache(startup)

    def _spec(self, name: str) -> DatabaseSpec | None:
        """Return the entry of a database, as ``Configuration.database`` does.

        Most have one of their own, which is found without a call of Python's.
        """
        configuration = self.context.configuration
        own: DatabaseSpec | None = configuration.databases.get(name)
        return configuration.database(name) if own is None else own

    def _is_owner(self, frontend: Frontend) -> bool:
        """Tell whether the OS user that runs us asks, over the unix socket."""
        return (
            frontend.user == CONSOLE_USER
            and frontend.credentials is not None
            and frontend.credentials[1] == os.geteuid()
        )

    def _check_console_user(self, user: str) -> None:
        """Refuse who may neither command nor look; under ``any`` all may look."""
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

    # What time does to clients.

    def sweep(self, now: float) -> None:
        """End logins that take too long."""
        limit = self._settings.client_login_timeout
        if limit:
            for frontend in list(self.arriving.values()):
                if now - frontend.connected_at <= limit:
                    break
                if frontend.pool is None:
                    frontend.disconnect(ClientLoginTimeout())
