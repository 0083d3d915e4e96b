"""Errors after the loss of a server."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import Fault, Severity


class TransactionLost(Fault):
    """The server of an open transaction went away; nothing of it was committed."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "40001"
    text = "transaction lost: its server went away"
    detail = "Nothing of it was committed."
    hint = "Run the transaction again."


class InFailedTransaction(Fault):
    """A statement after the loss of a transaction and before its end."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "25P02"
    text = (
        "current transaction is aborted, commands ignored until end of"
        " transaction block"
    )
    remedy = "ROLLBACK, then run the transaction again."


class TransactionNotChained(Fault):
    """AND CHAIN after the transaction was lost: the next one cannot begin like it."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "40001"
    text = "transaction lost: AND CHAIN cannot begin another like it"
    detail = "No transaction is open now."
    hint = "Begin a transaction."


class MultipleCommands(Fault):
    """Parse of several statements, after the loss of a transaction."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "42601"
    text = "cannot insert multiple commands into a prepared statement"
    remedy = "Send one statement at a time."


class StatementInUse(Fault):
    """Parse of a name that is in use, after the loss of a transaction."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "42P05"
    text = 'prepared statement "{name}" already exists'
    remedy = "Close the statement first, or use another name."


class NoSuchStatement(Fault):
    """Bind or Describe of an unknown statement, after the loss of a transaction."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "26000"
    text = 'prepared statement "{name}" does not exist'
    remedy = "Prepare it first."


class OutcomeUnknown(Fault):
    """The server went away after a statement that it may have carried out."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "08007"
    text = "statement outcome unknown: its server went away before it answered"
    hint = "Find out whether it took effect before running it again."


class StatementEnded(Fault):
    """The server ended its connection and undid the statement.

    The client stays connected; text and SQLSTATE are the server's.
    """

    severity: ClassVar[Severity] = "ERROR"
    text = "{message}"
    text_limit: ClassVar[int | None] = None
    detail = (
        "The server ended its connection and rolled back the statement, which was not"
        " run again: {why}."
    )
    remedy = "Run the statement again."

    @property
    def cause(self) -> str:
        """A fixed text: the SQLSTATE stands for the words of the server."""
        return "statement ended by its server"

    def __init__(self, *, message: str, sqlstate: str, why: str) -> None:
        """Take text and SQLSTATE of the server, and why it is not retried."""
        super().__init__(message=message, why=why)
        self.sqlstate = sqlstate


class SessionEnded(Fault):
    """The server of a session ended the connection. Text and SQLSTATE are its own."""

    text = "{message}"
    text_limit: ClassVar[int | None] = None
    hint = "Connect again; new connections are served as soon as there is a writer."

    @property
    def cause(self) -> str:
        """A fixed text: the SQLSTATE stands for the words of the server."""
        return "session ended by its server"

    def __init__(self, *, message: str, sqlstate: str) -> None:
        """Take text and SQLSTATE of the server."""
        super().__init__(message=message)
        self.sqlstate = sqlstate


class SessionLost(Fault):
    """The server of a session is gone, with everything that the session had there."""

    sqlstate = "57P01"
    text = "server connection lost: {reason}"
    hint = "Connect again; new connections are served as soon as there is a writer."

    @property
    def cause(self) -> str:
        """The text with its reason: there are only a few."""
        return self.text
