"""After the authentication: takes a client to its pool or to the console.

Only here does a client learn that a database does not exist or is disabled: it has
proved by now who it is.
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
from pgswitch.net.frontend import ClientRules
from pgswitch.net.login_commands import StartConsole, StartRelay
from pgswitch.pool.modes import statements_for
from pgswitch.pool.parameter_sync import log_respelled
from pgswitch.types import PoolMode
from pgswitch.wire import encode
from pgswitch.wire.params import reports
from pgswitch.wire.spelling import application_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.config.model import DatabaseSpec, Settings
    from pgswitch.net.console_answers import ConsoleSession
    from pgswitch.net.frontend import Frontend
    from pgswitch.net.login_commands import LoginCommand
    from pgswitch.pool.cancel_keys import CancelKeys
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.wire.params import Values, Welcome

CONSOLE_LIMIT: Final = 65536
"""Bytes of a message to the console, which buffers it whole and parses it at once."""
_READY: Final = encode.ready_for_query()


class SessionRules(ClientRules, Protocol):
    """The rules in force; see rules/engine.py."""

    def routes(self, database: str) -> bool:
        """Tell whether rules may move clients of a database to other servers."""


class SessionSetup:
    """Prepares the sessions of authenticated clients."""

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
        """Take the parts of the service.

        :param open_console: opens a console; takes whether the client is an admin, and
            whether it is the owner of the process.
        :param console_parameters: reported to clients of the console.
        :param version: the version of PgBouncer that clients are to take us for.
        """
        self._context = context
        self._pools = pools
        self._keys = keys
        self._open_console = open_console
        self.rules = rules
        self._console_parameters = console_parameters
        self._version = version
        self._pooler_parameters: dict[int, bytes] = {}

    @property
    def _settings(self) -> Settings:
        return self._context.configuration.settings

    def enter_pool(
        self, frontend: Frontend, spec: DatabaseSpec | None, *, shutting_down: bool
    ) -> list[LoginCommand]:
        """Take a client to its pool; return the start of the relay.

        The list is empty if the client has to wait: its pool resumes the login then.
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
        welcome = pool.add_client(frontend)
        return [] if welcome is None else [self.start(frontend, welcome)]

    def enter_console(
        self, frontend: Frontend, *, is_admin: bool, is_owner: bool
    ) -> list[LoginCommand]:
        """Open a console for a client; return its start."""
        console = self._open_console(is_admin, is_owner)
        self._context.console_counters.client_login_count += 1
        tracked = {} if frontend.facts is None else dict(frontend.facts.tracked)
        tracking = self._context.tracking
        parameters = frontend.startup_parameters
        name = tracking.value(parameters, "application_name")
        if name is not None:
            name = tracked["application_name"] = application_name(name, "")
            parameters = tracking.changed(parameters, "application_name", name)
        reported = dict(self._console_parameters)
        reported |= {
            name: value for name, value in tracked.items() if name not in reported
        }
        key = self._keys.issue(frontend)
        return [
            StartConsole(
                console,
                parameters,
                message_limit=min(self._settings.max_packet_size, CONSOLE_LIMIT),
                reply=self._reply(reports(reported), key),
                cancel_key=key,
            )
        ]

    def start(self, frontend: Frontend, welcome: Welcome) -> StartRelay:
        """Return how to start the relay, now that the servers' parameters are known."""
        requested = self._requested(frontend)
        values, reported = welcome.to(requested)
        if self._context.log.noise_enabled:
            log_respelled(self._context, frontend, requested, values)
        command = self._relay(frontend, values)
        if frontend.waiting_since:
            waited = self._context.clock() - frontend.waiting_since
            frontend.pool.idle_pool.counters.waited(int(waited * 1e6))
        reported += self._pooler_reports(command.idle_pool.mode)
        command.cancel_key = self._keys.issue(frontend)
        command.reply = self._reply(reported, command.cancel_key)
        return command

    def reenter_pool(
        self, frontend: Frontend, spec: DatabaseSpec, values: Values
    ) -> StartRelay:
        """Take a client to its pool that another process has logged in."""
        pool = frontend.pool = self._pools.pool(spec, frontend.user)
        pool.register_client(frontend)
        return self._relay(frontend, values)

    def _relay(self, frontend: Frontend, values: Values) -> StartRelay:
        """Return the start of the relay, without the messages that end the login."""
        settings = self._settings
        return StartRelay(
            frontend.pool.idle_pool_of(frontend),
            statements_for(frontend, self.rules.routes),
            values,
            message_limit=settings.max_packet_size,
            simple_queries=not settings.disable_pqexec,
        )

    def _reply(self, reported: bytes, cancel_key: bytes) -> bytes:
        """Return the messages that end a login, ReadyForQuery last.

        ``reported`` is AuthenticationOk and the ParameterStatus messages.
        """
        text = self._settings.login_notify_message
        return b"".join(
            (
                reported,
                encode.backend_key_data(cancel_key),
                encode.notice_response(Notice(text=text)) if text else b"",
                _READY,
            )
        )

    def _pooler_reports(self, mode: int) -> bytes:
        """Return what tells drivers that servers may be shared, as PgBouncer 1.26."""
        reported = self._pooler_parameters.get(mode)
        if reported is None:
            reported = encode.parameter_status("pgbouncer_version", self._version)
            reported += encode.parameter_status("pool_mode", str(PoolMode(mode)))
            self._pooler_parameters[mode] = reported
        return reported

    def _requested(self, frontend: Frontend) -> Values:
        """Return the tracked parameters that the client asked for."""
        parameters = frontend.startup_parameters
        if not self._settings.application_name_add_host:
            return parameters
        tracking = self._context.tracking
        name = tracking.value(parameters, "application_name") or "app"
        return tracking.changed(
            parameters, "application_name", f"{name} - {_host_text(frontend)}"
        )


def _host_text(frontend: Frontend) -> str:
    """Return a client's host and port in the form of application_name_add_host."""
    address = frontend.address
    if address.host == "unix":
        return f"unix({address.pid}@{os.uname().nodename}):{address.port}"
    return str(address)
