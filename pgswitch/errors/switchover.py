"""Errors of clients that lose their server, as in a switchover."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import Fault, Severity


class TransactionLost(Fault):
    """The server was lost inside a transaction, which was certainly not committed."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "40001"
    text = "transaction lost: its server went away"
    detail = "Nothing of it was committed."
    hint = "Run the transaction again."


class InFailedTransaction(Fault):
    """A statement between the loss and the end of the transaction."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "25P02"
    text = (
        "current transaction is aborted, commands ignored until end of"
        " transaction block"
    )


class TransactionNotChained(Fault):
    """AND CHAIN after a lost transaction, whose characteristics are unknown."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "40001"
    text = "transaction lost: AND CHAIN cannot begin another like it"
    detail = "No transaction is open now."
    hint = "Begin a transaction."


class MultipleCommands(Fault):
    """Parse of several statements; the text is PostgreSQL's, as in the next two."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "42601"
    text = "cannot insert multiple commands into a prepared statement"


class StatementInUse(Fault):
    """Parse of a name in use."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "42P05"
    text = 'prepared statement "{name}" already exists'


class NoSuchStatement(Fault):
    """Bind or Describe of an unknown statement."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "26000"
    text = 'prepared statement "{name}" does not exist'


class OutcomeUnknown(Fault):
    """The server was lost after receiving a statement that it may have executed."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "08007"
    text = "statement outcome unknown: its server went away before it answered"
    hint = "Find out whether it took effect before running it again."


class StatementEnded(Fault):
    """The server closed its connection with a FATAL; the client's stays open.

    The server's own text and SQLSTATE, as the error of one statement.
    """

    severity: ClassVar[Severity] = "ERROR"
    text = "{message}"
    text_limit: ClassVar[int | None] = None
    detail = (
        "The server ended its connection and rolled back the statement, which was not"
        " run again: {why}."
    )

    @property
    def cause(self) -> str:
        """A fixed text: the server's varies, and the SQLSTATE says enough."""
        return "statement ended by its server"

    def __init__(self, *, message: str, sqlstate: str, why: str) -> None:
        """Take the server's text and SQLSTATE, and why the statement is not retried."""
        super().__init__(message=message, why=why)
        self.sqlstate = sqlstate


class SessionEnded(Fault):
    """The server of a session closed the connection, with this text."""

    text = "{message}"
    text_limit: ClassVar[int | None] = None
    hint = "Connect again; new connections are served as soon as there is a writer."

    @property
    def cause(self) -> str:
        """A fixed text: the server's varies, and the SQLSTATE says enough."""
        return "session ended by its server"

    def __init__(self, *, message: str, sqlstate: str) -> None:
        """Take the server's text and SQLSTATE."""
        super().__init__(message=message)
        self.sqlstate = sqlstate


class SessionLost(Fault):
    """The server of a session was lost, and with it the session's state."""

    sqlstate = "57P01"
    text = "server connection lost: {reason}"
    hint = "Connect again; new connections are served as soon as there is a writer."

    @property
    def cause(self) -> str:
        """The text with its reason; the number of reasons is small."""
        return self.text
