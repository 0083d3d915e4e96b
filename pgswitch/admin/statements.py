"""Carries out the statements of one console: a statement in, its outcome out.

Knows nothing of messages: the two query protocols of ``console`` share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from pgswitch.admin.commands import VERBS, run_verb
from pgswitch.admin.grammar import (
    ConsoleCommand,
    ConsoleStatement,
    Empty,
    Explanation,
    SetStatement,
)
from pgswitch.admin.rows import Column, Rows
from pgswitch.admin.show import SESSION_VALUES, Show, explanation, find
from pgswitch.admin.usage import USAGE
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
    from pgswitch.admin.interfaces import ConsoleLog, Control, View

IGNORED_SETTINGS: Final = frozenset({*SESSION_VALUES, "extra_float_digits"})
"""What drivers SET at every login (the last by pgjdbc) and the console has not."""
TLS_SETTINGS: Final = ("client_tls", "server_tls")
"""Beginnings of the settings that are put in force apart, and perhaps not."""
HELP: Final = "help"


@dataclass(frozen=True, slots=True)
class StatementResult:
    """What a statement gave."""

    tag: str = ""
    """That of CommandComplete; empty where there was no statement."""
    columns: tuple[Column, ...] | None = None
    """None where there is no result, which is not a result without rows."""
    rows: Rows = field(default=())
    notice: Notice | None = None
    attaches: bool = False
    """Each row begins with a descriptor that goes along to whom it may go."""
    is_end: bool = False
    """The process ends: there is no answer, the connection is just closed."""


class ConsoleStatements:
    """What one console may see and have done.

    ``is_admin`` tells whether its user may do more than look, ``is_owner`` whether it
    is the process's own, on the unix socket.
    """

    def __init__(
        self,
        view: View,
        control: Control,
        *,
        is_admin: bool,
        is_owner: bool = False,
        log: ConsoleLog,
    ) -> None:
        """Take what is read, what is commanded, and where that is logged."""
        self.is_owner = is_owner
        self._view = view
        self._control = control
        self.is_admin = is_admin
        self._log = log

    def columns(
        self, statement: ConsoleStatement, text: str
    ) -> tuple[Column, ...] | None:
        """Return the columns that a statement will give, None for no result.

        Raises InvalidCommand for one that there is not; nothing is carried out.
        """
        if isinstance(statement, Explanation):
            return explanation().columns
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
        """Carry out a statement, of which ``text`` is what was typed.

        Raises ConsoleError, or has the Deferred fail with it.
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
        """Explain a route; this runs the user's functions."""
        self._need_admin()
        shown = explanation(wanted.query, wanted.user, wanted.database)
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


def _find(statement: ConsoleCommand, text: str) -> Show:
    shown = None if statement.timeout is not None else find(_wanted(statement))
    if shown is None:
        raise InvalidCommand(command=text)
    return shown
