"""Runs the statements of one console: a statement in, its outcome out.

It knows nothing of messages: the simple and the extended protocol share it.

:data:`SHOWS` is every SHOW by its name.  Names, order and types of the columns are
those of PgBouncer 1.25.2, because monitoring tools read them by name, by place and by
type.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from pgswitch.admin.commands import VERBS, run_verb
from pgswitch.admin.grammar import (
    ConsoleCommand,
    ConsoleStatement,
    Empty,
    Explanation,
    SetStatement,
)
from pgswitch.admin.result_set import Columns, ResultRows
from pgswitch.admin.show import (
    databases,
    pools,
    rules,
    service,
    sockets,
    stats,
    topology,
)
from pgswitch.admin.show.rules import explain_route
from pgswitch.admin.show.service import SESSION_VALUES
from pgswitch.admin.view import ServiceView, Show
from pgswitch.errors import (
    AdminAccessNeeded,
    ConsoleUsage,
    InvalidCommand,
    Notice,
    SetFailed,
    SetIgnored,
    TlsNotApplied,
)

if TYPE_CHECKING:
    from pgswitch.admin.commands import ConsoleLog, Control
    from pgswitch.admin.view import ServiceView, Show

SHOWS: Final[dict[str, Show[Any]]] = {
    "active_sockets": sockets.ACTIVE_SOCKETS,
    "clients": sockets.CLIENTS,
    "config": service.CONFIG,
    "databases": databases.DATABASES,
    "dns_hosts": service.DNS_HOSTS,
    "dns_zones": service.DNS_ZONES,
    "errors": stats.ERRORS,
    "fds": sockets.FDS,
    "handover": sockets.HANDOVER,
    "lists": service.LISTS,
    "mem": service.MEM,
    "peer_pools": pools.PEER_POOLS,
    "peers": pools.PEERS,
    "pools": pools.POOLS,
    "rules": rules.RULES,
    "servers": sockets.SERVERS,
    "sockets": sockets.SOCKETS,
    "state": service.STATE,
    "stats": stats.STATS,
    "stats_averages": stats.STATS_AVERAGES,
    "stats_percentiles": stats.STATS_PERCENTILES,
    "stats_totals": stats.STATS_TOTALS,
    "switchovers": topology.SWITCHOVERS,
    "topology": topology.TOPOLOGY,
    "totals": stats.TOTALS,
    "users": databases.USERS,
    "version": service.VERSION,
}


def find(name: str) -> Show[Any] | None:
    """Return what SHOW ``name`` shows, None if it is unknown; case does not matter."""
    key = name.lower()
    return service.SESSION_SHOWS.get(key) or SHOWS.get(key)


def named_rows(name: str, view: ServiceView) -> list[Any]:
    """Return all rows of a SHOW at once, with the columns as attributes."""
    return SHOWS[name].named_rows(view)


IGNORED_SETTINGS: Final = frozenset({*SESSION_VALUES, "extra_float_digits"})
"""What drivers SET at every login; the console ignores it (the last is pgjdbc's)."""
TLS_SETTINGS: Final = ("client_tls", "server_tls")
"""Prefixes of the settings that a SET stores but may fail to apply."""
HELP: Final = "help"

REFERENCE_USAGE: Final = """
	SHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
	SHOW PEERS|PEER_POOLS
	SHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
	SHOW DNS_HOSTS|DNS_ZONES
	SHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
	SET key = arg
	RELOAD
	PAUSE [<db>]
	RESUME [<db>]
	DISABLE <db>
	ENABLE <db>
	RECONNECT [<db>]
	KILL [<db>]
	KILL_CLIENT <client_id>
	SUSPEND
	SHUTDOWN
	SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
	WAIT_CLOSE [<db>]"""
"""What PgBouncer 1.25.2 says, to the letter."""

OUR_USAGE: Final = """
	SHOW STATS_PERCENTILES|ERRORS|RULES|HANDOVER|TOPOLOGY|SWITCHOVERS
	EXPLAIN ROUTE [user=<user>] [database=<db>] '<query>'
	PAUSE [<db>] TIMEOUT <seconds>
	DRAIN [TIMEOUT <seconds>]"""
"""What pgswitch adds."""

USAGE: Final = REFERENCE_USAGE + OUR_USAGE
"""The DETAIL of SHOW HELP."""


class StatementSyntax(NamedTuple):
    """A statement that is not among VERBS, for the reference page."""

    syntax: str
    meaning: str
    who: str


OTHER_STATEMENTS: Final = (
    StatementSyntax(
        "SHOW <name>",
        "Show one of the [results of SHOW](show.md). `SELECT` is another word for it.",
        "all; `FDS`: admins; `HANDOVER`: the operating-system user of the process",
    ),
    StatementSyntax(
        "SHOW HELP",
        "List all statements, as the DETAIL of a NOTICE.",
        "all",
    ),
    StatementSyntax(
        "SET <key> = <value>",
        "Change a setting until the next `RELOAD` or restart. `SET` of "
        + ", ".join(f"`{name}`" for name in sorted(IGNORED_SETTINGS))
        + " does nothing: drivers send them at every login.",
        "admins",
    ),
    StatementSyntax(
        "EXPLAIN ROUTE [user=<user>] [database=<db>] '<query>'",
        "Show what the user's functions make of a query. This runs them.",
        "admins",
    ),
)


@dataclass(frozen=True, slots=True)
class StatementResult:
    """The outcome of a statement."""

    tag: str = ""
    """The tag of CommandComplete; empty for an empty statement."""
    columns: Columns[Any] | None = None
    """None without a result, which differs from a result without rows."""
    rows: ResultRows = field(default=())
    notice: Notice | None = None
    attaches: bool = False
    """Each row begins with a descriptor, sent along to a client that may have it."""
    is_end: bool = False
    """The process ends: close the connection without an answer."""


class ConsoleStatements:
    """Runs the statements of one console client.

    ``is_admin`` is true for admins, who may do more than SHOW; ``is_owner`` for the
    process's own user on the unix socket.
    """

    def __init__(
        self,
        view: ServiceView,
        control: Control,
        *,
        is_admin: bool,
        is_owner: bool = False,
        log: ConsoleLog,
    ) -> None:
        """Take what SHOW reads, what commands act on, and the log."""
        self.is_owner = is_owner
        self._view = view
        self._control = control
        self.is_admin = is_admin
        self._log = log

    def columns(self, statement: ConsoleStatement, text: str) -> Columns[Any] | None:
        """Return the columns of a statement's result without running it.

        Returns None for no result; raises InvalidCommand for an unknown statement.
        """
        if isinstance(statement, Explanation):
            return explain_route().columns
        if not isinstance(statement, ConsoleCommand):
            return None
        if statement.verb != "show":
            if statement.verb not in VERBS:
                raise InvalidCommand(command=text)
            return None
        if _wanted(statement) == HELP:
            return None
        return _find(statement, text).columns

    def run(
        self, statement: ConsoleStatement, text: str
    ) -> StatementResult | Deferred[StatementResult]:
        """Run a statement; ``text`` is what the user typed.

        Raises ConsoleError, or the Deferred fails with it.
        """
        match statement:
            case Empty():
                return StatementResult()
            case SetStatement():
                return self._set(statement)
            case Explanation():
                return self._explain(statement)
            case ConsoleCommand(verb="show"):
                return self._show(statement, text)
            case _:
                return self._command(statement, text)

    def _show(self, statement: ConsoleCommand, text: str) -> StatementResult:
        if _wanted(statement) == HELP:
            return StatementResult("SHOW", notice=ConsoleUsage(detail=USAGE))
        wanted = _find(statement, text)
        if wanted.needs_admin:
            self._need_admin()
        if wanted.needs_owner and not self.is_owner:
            raise AdminAccessNeeded
        return StatementResult(
            "SHOW",
            wanted.columns,
            wanted.rows(self._view),
            attaches=wanted.attaches,
        )

    def _explain(self, wanted: Explanation) -> StatementResult:
        """Explain a route, which runs the user's functions."""
        self._need_admin()
        shown = explain_route(wanted.query, wanted.user, wanted.database)
        return StatementResult("EXPLAIN", shown.columns, shown.rows(self._view))

    def _set(self, setting: SetStatement) -> StatementResult:
        key, value = setting
        if key.lower() in IGNORED_SETTINGS:
            return StatementResult("SET", notice=SetIgnored())
        self._need_admin()
        if not self._control.set(key, value):
            raise SetFailed
        is_of_tls = key.lower().startswith(TLS_SETTINGS)
        is_dropped = is_of_tls and not self._control.tls_is_current()
        notice = TlsNotApplied() if is_dropped else None
        return StatementResult(f"SET {key}={value}", notice=notice)

    def _command(
        self, command: ConsoleCommand, text: str
    ) -> StatementResult | Deferred[StatementResult]:
        if command.verb not in VERBS:
            raise InvalidCommand(command=text)
        self._need_admin()
        waiting = run_verb(command, text, control=self._control, log=self._log)
        if command == ConsoleCommand("shutdown"):
            return StatementResult(is_end=True)
        outcome = StatementResult(command.verb.upper())
        if waiting is None:
            return outcome
        return waiting.addCallback(lambda _: outcome)

    def _need_admin(self) -> None:
        if not self.is_admin:
            raise AdminAccessNeeded


def _wanted(statement: ConsoleCommand) -> str:
    return (statement.argument or "").lower()


def _find(statement: ConsoleCommand, text: str) -> Show[Any]:
    shown = None if statement.timeout is not None else find(_wanted(statement))
    if shown is None:
        raise InvalidCommand(command=text)
    return shown
