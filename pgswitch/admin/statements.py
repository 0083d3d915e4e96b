"""Carries out the statements of one console: a statement in, its outcome out.

Knows nothing of messages: the two query protocols of ``console`` share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from pgswitch.admin.commands import VERBS, run_verb
from pgswitch.admin.grammar import Command, Empty, Explanation, Setting, Statement
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
class Outcome:
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


class Statements:
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

    def columns(self, statement: Statement, text: str) -> tuple[Column, ...] | None:
        """Return the columns that a statement will give, None for no result.

        Raises InvalidCommand for one that there is not; nothing is carried out.
        """
        if isinstance(statement, Explanation):
            return explanation().columns
        if not isinstance(statement, Command):
            return None
        if statement.verb != "show":
            if statement.verb not in VERBS:
                raise InvalidCommand(command=text)
            return None
        if _wanted(statement) == HELP:
            return None
        return _find(statement, text).columns

    def run(self, statement: Statement, text: str) -> Outcome | Deferred[Outcome]:
        """Carry out a statement, of which ``text`` is what was typed.

        Raises ConsoleError, or has the Deferred fail with it.
        """
        match statement:
            case Empty():
                return Outcome()
            case Setting():
                return self._set(statement)
            case Explanation():
                return self._explain(statement)
            case Command(verb="show"):
                return self._show(statement, text)
            case _:
                return self._command(statement, text)

    def _show(self, statement: Command, text: str) -> Outcome:
        if _wanted(statement) == HELP:
            return Outcome("SHOW", notice=ConsoleUsage(detail=USAGE))
        wanted = _find(statement, text)
        if wanted.needs_admin:
            self._need_admin()
        if wanted.needs_owner and not self.is_owner:
            raise AdminAccessNeeded
        return Outcome(
            "SHOW",
            wanted.columns,
            wanted.rows(self._view),
            attaches=wanted.attaches,
        )

    def _explain(self, wanted: Explanation) -> Outcome:
        """Explain a route; this runs the user's functions."""
        self._need_admin()
        shown = explanation(wanted.query, wanted.user, wanted.database)
        return Outcome("EXPLAIN", shown.columns, shown.rows(self._view))

    def _set(self, setting: Setting) -> Outcome:
        key, value = setting
        if key.lower() in IGNORED_SETTINGS:
            return Outcome("SET", notice=SetIgnored())
        self._need_admin()
        if not self._control.set(key, value):
            raise SetFailed
        is_of_tls = key.lower().startswith(TLS_SETTINGS)
        is_dropped = is_of_tls and not self._control.tls_is_current()
        notice = TlsNotApplied() if is_dropped else None
        return Outcome(f"SET {key}={value}", notice=notice)

    def _command(self, command: Command, text: str) -> Outcome | Deferred[Outcome]:
        if command.verb not in VERBS:
            raise InvalidCommand(command=text)
        self._need_admin()
        waiting = run_verb(command, text, control=self._control, log=self._log)
        if command == Command("shutdown"):
            return Outcome(is_end=True)
        outcome = Outcome(command.verb.upper())
        if waiting is None:
            return outcome
        return waiting.addCallback(lambda _: outcome)

    def _need_admin(self) -> None:
        if not self.is_admin:
            raise AdminAccessNeeded


def _wanted(statement: Command) -> str:
    return (statement.argument or "").lower()


def _find(statement: Command, text: str) -> Show:
    shown = None if statement.timeout is not None else find(_wanted(statement))
    if shown is None:
        raise InvalidCommand(command=text)
    return shown
