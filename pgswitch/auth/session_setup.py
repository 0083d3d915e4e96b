"""What a client that has proved itself gets: a pool or the console, and a welcome.

Only here, after the proof, does it hear that a database does not exist or is not to
be had.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from pgswitch.errors import (
    DatabaseDisabled,
    NoSuchDatabase,
    Notice,
    PoolerShuttingDown,
)
from pgswitch.pool.modes import statements_for
from pgswitch.pool.parameter_sync import log_respelled
from pgswitch.types import PoolMode
from pgswitch.wire import encode
from pgswitch.wire.spelling import application_name
from pgswitch.wire.welcome import reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.config.model import DatabaseSpec, Settings
    from pgswitch.net.console_answers import ConsoleSession
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.cancel_keys import CancelKeys
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.wire.params import Values
    from pgswitch.wire.prepared import ClientStatements
    from pgswitch.wire.welcome import Welcome

CONSOLE_LIMIT: Final = 65536
"""Bytes of a message to the console: it is held whole, and taken apart in one go."""


class SessionRules(Protocol):
    """What is asked of the rules in force; see rules/engine.py."""

    def routes(self, database: str) -> bool:
        """Tell whether clients of a database may be moved to other servers."""

    def attach(self, client: Frontend) -> None:
        """Have the queries of a client that has logged in judged, if they are to be."""


class SessionSetup:
    """Leads clients from their login to where they work."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        keys: CancelKeys,
        open_console: Callable[[bool, bool], ConsoleSession],
        *,
        rules: SessionRules,
        console_parameters: tuple[tuple[str, str], ...],
        version: str,
    ) -> None:
        """``open_console`` is told whether the client is an admin, and the owner.

        ``version`` is that of PgBouncer which clients are to take us for.
        """
        self._context = context
        self._pools = pools
        self._keys = keys
        self._open_console = open_console
        self._rules = rules
        self._console_parameters = console_parameters
        self._version = version
        self._told_of_modes: dict[int, bytes] = {}

    @property
    def _settings(self) -> Settings:
        return self._context.configuration.settings

    def enter_pool(
        self, frontend: Frontend, spec: DatabaseSpec | None, *, shutting_down: bool
    ) -> None:
        """Take a client to its pool, which welcomes it now or later.

        Raises NoSuchDatabase, DatabaseDisabled or PoolerShuttingDown.
        """
        if spec is None:
            if self._settings.log_connections:
                self._context.log.log(
                    f"{frontend.prefix} login failed:"
                    f" db={frontend.database} user={frontend.user}"
                )
            raise NoSuchDatabase(database=frontend.database)
        if spec.name in self._pools.disabled:
            raise DatabaseDisabled(database=spec.name)
        if shutting_down:
            raise PoolerShuttingDown
        pool = self._pools.pool(spec, frontend.user)
        pool.idle_pool.counters.client_login_count += 1
        frontend.pool = pool
        pool.add_client(frontend)

    def enter_console(
        self, frontend: Frontend, *, is_admin: bool, is_owner: bool
    ) -> None:
        """Open a console for a client, and welcome it there."""
        frontend.console = self._open_console(is_admin, is_owner)
        self._context.console_counters.client_login_count += 1
        tracked = {} if frontend.facts is None else dict(frontend.facts.tracked)
        tracking = self._context.tracking
        name = tracking.value(frontend.wanted, "application_name")
        if name is not None:
            name = tracked["application_name"] = application_name(name, "")
            frontend.wanted = tracking.changed(
                frontend.wanted, "application_name", name
            )
        given = dict(self._console_parameters)
        given |= {name: value for name, value in tracked.items() if name not in given}
        frontend.stream.limit = min(self._settings.max_packet_size, CONSOLE_LIMIT)
        frontend.stream.parameters = frontend.wanted
        told = reports(given)
        frontend.send_welcome(told, self._keys.issue(frontend), self._notice())

    def welcome(self, frontend: Frontend, welcome: Welcome) -> None:
        """Begin the relay of a client, now that its servers' parameters are known."""
        if frontend.closed:
            return
        wanted = self._wanted(frontend)
        values, told = welcome.to(wanted)
        if self._context.log.noise_enabled:
            log_respelled(self._context, frontend, wanted, values)
        statements = self._prepare(frontend, values)
        if frontend.waiting_since:
            waited = self._context.clock() - frontend.waiting_since
            frontend.stream.counters.waited(int(waited * 1e6))
        idle_pool = frontend.pool.idle_pool_of(frontend)
        told += self._about_us(idle_pool.mode)
        frontend.send_welcome(told, self._keys.issue(frontend), self._notice())
        frontend.stream.begin_relay(idle_pool, statements)
        self._rules.attach(frontend)

    def _about_us(self, mode: int) -> bytes:
        """Return what tells drivers that servers may be shared, as PgBouncer 1.26."""
        told = self._told_of_modes.get(mode)
        if told is None:
            told = encode.parameter_status("pgbouncer_version", self._version)
            told += encode.parameter_status("pool_mode", str(PoolMode(mode)))
            self._told_of_modes[mode] = told
        return told

    def readmit(self, frontend: Frontend, spec: DatabaseSpec, values: Values) -> None:
        """Begin the relay of a client that was welcomed by another process."""
        pool = frontend.pool = self._pools.pool(spec, frontend.user)
        pool.register_client(frontend)
        statements = self._prepare(frontend, values)
        frontend.stream.begin_relay(pool.idle_pool_of(frontend), statements)

    def _prepare(self, frontend: Frontend, values: Values) -> ClientStatements | None:
        """Make a client's link ready for the relay; return its prepared statements."""
        stream = frontend.stream
        pool = frontend.pool
        settings = self._settings
        statements = statements_for(frontend, self._rules.routes)
        stream.parameters = stream.startup_parameters = values
        stream.counters = pool.idle_pool.counters
        stream.limit = settings.max_packet_size
        stream.simple = not settings.disable_pqexec
        return statements

    def revive(self, frontend: Frontend) -> None:
        """Begin the relay of a welcomed client once more."""
        stream = frontend.stream
        stream.begin_relay(frontend.pool.idle_pool_of(frontend), stream.statements)
        self._rules.attach(frontend)

    def _wanted(self, frontend: Frontend) -> Values:
        """Return the tracked parameters that the client asked for."""
        if not self._settings.application_name_add_host:
            return frontend.wanted
        tracking = self._context.tracking
        name = tracking.value(frontend.wanted, "application_name") or "app"
        return tracking.changed(
            frontend.wanted, "application_name", f"{name} - {_host_text(frontend)}"
        )

    def _notice(self) -> Notice | None:
        text = self._settings.login_notify_message
        return Notice(text=text) if text else None


def _host_text(frontend: Frontend) -> str:
    """Return where a client comes from, in the form of application_name_add_host."""
    address = frontend.address
    if address.host == "unix":
        return f"unix({address.pid}@{os.uname().nodename}):{address.port}"
    return str(address)
