"""Receives clients: who may come in, by which proof, to which pool.

The order of the checks is PgBouncer's, because what a stranger learns from the
first refusal depends on it: parameters, limits, the database's own limits, then the
proof; and only somebody who has proved a name hears that a database does not exist.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from pgswitch.errors import (
    BouncerConfigError,
    ClientLoginTimeout,
    DatabaseDisabled,
    NoSuchDatabase,
    NotAllowed,
    Notice,
    PoolerShuttingDown,
    TooManyClients,
    TooManyDatabaseClients,
    TooManyUserClients,
    UsernameTooLong,
)
from pgswitch.types import CONSOLE_DATABASES, CONSOLE_USER, AuthType, PoolMode
from pgswitch.wire import constants, encode
from pgswitch.wire.judging import Judge, Judgement
from pgswitch.wire.login_client import Accepted, ClientLogin
from pgswitch.wire.prepared import ClientStatements
from pgswitch.wire.startup import Replication
from pgswitch.wire.welcome import reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from pgswitch.auth.store import AuthStore
    from pgswitch.config.model import DatabaseSpec, Settings
    from pgswitch.logs import Log
    from pgswitch.net.frontend import ConsoleSession, Frontend
    from pgswitch.pool.cancelling import CancelKeys
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.registry import Pools
    from pgswitch.wire.params import Values
    from pgswitch.wire.startup import Startup, StartupFacts
    from pgswitch.wire.welcome import Welcome

USER_NAME_LIMIT = 128
"""Bytes that a user name must stay under."""
_REPLICATION_WORDS = {
    Replication.NONE: "no",
    Replication.LOGICAL: "database",
    Replication.PHYSICAL: "yes",
}


class Rules(Protocol):
    """What is asked of the rules in force; see rules/advice.py."""

    def routes(self, database: str) -> bool:
        """Tell whether clients of a database may be moved to other servers."""

    def attach(self, client: Frontend) -> None:
        """Have the queries of a client that has logged in judged, if they are to be."""


class FrontDesk:
    """The reception of net/frontend.py."""

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        store: AuthStore,
        keys: CancelKeys,
        open_console: Callable[[bool], ConsoleSession],
        *,
        rules: Rules,
    ) -> None:
        """``open_console`` is told whether the client is an admin."""
        self.context = context
        self.clients: dict[int, Frontend] = {}
        """Every client connection by number."""
        self.arriving: dict[int, Frontend] = {}
        """Those that have not logged in yet, oldest first."""
        self.of_database: Counter[str] = Counter()
        self.of_user: Counter[str] = Counter()
        """How many there are, from the start-up packet on."""
        self.shutting_down = False
        self.console_parameters: tuple[tuple[str, str], ...] = ()
        self._pools = pools
        self._store = store
        self._keys = keys
        self._open_console = open_console
        self._rules = rules
        self._mock_seed = context.random(32)
        self._judge_by = Judge(context.tracking, ())

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
        return bool(self._settings.log_disconnections)

    @property
    def _settings(self) -> Settings:
        return self.context.configuration.settings

    def clock(self) -> float:
        """Return monotonic seconds."""
        return self.context.clock()

    def arrived(self, frontend: Frontend) -> int:
        """Note a new connection; return its number."""
        number = next(self.context.numbers)
        self.clients[number] = frontend
        self.arriving[number] = frontend
        return number

    def left(self, frontend: Frontend) -> None:
        """Forget a client."""
        self.clients.pop(frontend.number, None)
        self.arriving.pop(frontend.number, None)
        if frontend.facts is not None:
            self._count(frontend.facts, -1)
        self._keys.revoke(frontend)

    def cancel(self, frontend: Frontend, key: bytes) -> Deferred[str]:
        """Carry out a cancel request."""
        self.arriving.pop(frontend.number, None)
        return self._keys.cancel(frontend, key)

    # Logging in.

    def begin_login(self, frontend: Frontend, startup: Startup) -> ClientLogin | None:
        """Check a start-up packet; return the login, None if none is needed."""
        settings = self._settings
        facts, negotiation, frontend.wanted = self._judge(startup)
        frontend.facts = facts
        self._count(facts, 1)
        frontend.user, frontend.database = facts.user, facts.database
        is_console = facts.database in CONSOLE_DATABASES
        if not is_console and len(self.clients) > settings.max_client_conn:
            raise TooManyClients
        if negotiation.is_needed:
            frontend.link.send(
                encode.negotiate_protocol_version(
                    constants.PROTOCOL_3_0, negotiation.options
                )
            )
        if is_console and self._is_owner(frontend):
            self.log.log(f"{frontend.prefix} pgbouncer access from unix socket")
            return None
        if len(facts.user.encode("utf-8", "surrogateescape")) >= USER_NAME_LIMIT:
            raise UsernameTooLong
        spec = self.context.configuration.database(facts.database)
        self._check_client_limits(facts, spec)
        if settings.log_connections:
            replication = _REPLICATION_WORDS[facts.replication]
            self.log.log(
                f"{frontend.prefix} login attempt: db={facts.database}"
                f" user={facts.user} tls=no replication={replication}"
            )
        if is_console and self._console_rights(facts.user) is None:
            raise NotAllowed
        if settings.auth_type is AuthType.ANY and not is_console:
            self._check_forced_user(frontend, spec)
        return ClientLogin(
            settings.auth_type,
            facts.user,
            self._store.secret(facts.user),
            random=self.context.random,
            mock_seed=self._mock_seed,
            iterations=settings.scram_iterations,
            cache=self._store.verifiers,
        )

    def _judge(self, startup: Startup) -> Judgement:
        ignored = self._settings.ignore_startup_parameters
        if self._judge_by.ignored != ignored:
            self._judge_by = Judge(self.context.tracking, ignored)
        return self._judge_by.judge(startup)

    def _is_owner(self, frontend: Frontend) -> bool:
        """Tell whether the OS user that runs us asks, over the unix socket."""
        return (
            frontend.user == CONSOLE_USER
            and frontend.credentials is not None
            and frontend.credentials[1] == os.geteuid()
        )

    def _console_rights(self, user: str) -> bool | None:
        """Return whether a console user is admin; None if it may not come in."""
        settings = self._settings
        if user in settings.admin_users:
            return True
        if user in settings.stats_users or settings.auth_type is AuthType.ANY:
            return False
        return None

    def _check_forced_user(self, frontend: Frontend, spec: DatabaseSpec | None) -> None:
        if spec is not None and spec.user is None:
            self.log.error(f"{frontend.prefix} auth_type=any requires forced user")
            raise BouncerConfigError(
                detail="auth_type=any requires user= on the database's line."
            )

    def _check_client_limits(
        self, facts: StartupFacts, spec: DatabaseSpec | None
    ) -> None:
        """Refuse a client over max_db_ or max_user_client_connections."""
        if spec is None:
            return
        effective = self.context.effective
        most = effective.max_db_client_connections(spec, facts.user)
        if most and self.of_database[facts.database] > most:
            raise TooManyDatabaseClients
        most = effective.max_user_client_connections(spec, facts.user)
        if most and self.of_user[facts.user] > most:
            raise TooManyUserClients

    def _count(self, facts: StartupFacts, change: int) -> None:
        """Count a client that has come (1) or gone (-1)."""
        for counts, name in (
            (self.of_database, facts.database),
            (self.of_user, facts.user),
        ):
            counts[name] += change
            if not counts[name]:
                del counts[name]

    def accepted(self, frontend: Frontend, outcome: Accepted) -> None:
        """Take a client that has authenticated to its pool or to the console."""
        if outcome.scram_keys is not None:
            self._store.remember(frontend.user, outcome.scram_keys)
        if frontend.database in CONSOLE_DATABASES:
            self._enter_console(frontend)
            return
        spec = self.context.configuration.database(frontend.database)
        if spec is None:
            raise NoSuchDatabase(database=frontend.database)
        if spec.name in self._pools.disabled:
            raise DatabaseDisabled(database=spec.name)
        if self.shutting_down:
            raise PoolerShuttingDown
        pool = self._pools.pool(spec, frontend.user)
        pool.rack.counters.client_login_count += 1
        frontend.pool = pool
        pool.add_client(frontend)

    def _enter_console(self, frontend: Frontend) -> None:
        is_admin = self._is_owner(frontend) or bool(self._console_rights(frontend.user))
        frontend.console = self._open_console(is_admin)
        tracked = {} if frontend.facts is None else frontend.facts.tracked
        given = dict(self.console_parameters)
        given |= {name: value for name, value in tracked.items() if name not in given}
        frontend.link.limit = self._settings.max_packet_size
        frontend.link.parameters = frontend.wanted
        self.arriving.pop(frontend.number, None)
        told = reports(given)
        frontend.send_welcome(told, self._keys.issue(frontend), self._notice())

    def welcome(self, frontend: Frontend, welcome: Welcome) -> None:
        """Begin the relay of a client, now that its servers' parameters are known."""
        if frontend.closed:
            return
        values, told = welcome.to(self._wanted(frontend))
        link = frontend.link
        pool = frontend.pool
        settings = self._settings
        statements = None
        rack = pool.rack_of(frontend)
        is_shared = rack.mode != PoolMode.SESSION or (
            self._rules.routes(frontend.database) and not frontend.replicates
        )
        if is_shared and settings.max_prepared_statements > 0:
            statements = ClientStatements(
                self.context.statements,
                link.exchange,
                settings.max_prepared_statements,
                pool.rack.counters,
            )
        link.parameters = values
        link.counters = pool.rack.counters
        link.limit = settings.max_packet_size
        link.simple = not settings.disable_pqexec
        self.arriving.pop(frontend.number, None)
        frontend.send_welcome(told, self._keys.issue(frontend), self._notice())
        link.begin_relay(rack, statements)
        self._rules.attach(frontend)

    def revive(self, frontend: Frontend) -> None:
        """Begin the relay of a welcomed client once more."""
        link = frontend.link
        link.begin_relay(frontend.pool.rack_of(frontend), link.statements)
        self._rules.attach(frontend)

    def _wanted(self, frontend: Frontend) -> Values:
        """Return the tracked parameters that the client asked for."""
        if not self._settings.application_name_add_host:
            return frontend.wanted
        tracking = self.context.tracking
        name = tracking.value(frontend.wanted, "application_name") or "app"
        return tracking.changed(
            frontend.wanted, "application_name", f"{name} - {_host_text(frontend)}"
        )

    def _notice(self) -> Notice | None:
        text = self._settings.login_notify_message
        return Notice(text=text) if text else None

    # What time does to clients.

    def sweep(self, now: float) -> None:
        """End logins that take too long and clients that are silent for too long."""
        limit = self._settings.client_login_timeout
        if limit:
            for frontend in list(self.arriving.values()):
                if now - frontend.connected_at <= limit:
                    break
                if frontend.pool is None:
                    frontend.disconnect(ClientLoginTimeout())


def _host_text(frontend: Frontend) -> str:
    """Return where a client comes from, in the form of application_name_add_host."""
    address = frontend.address
    if address.host == "unix":
        return f"unix({address.pid}@{os.uname().nodename}):{address.port}"
    return str(address)
