"""What a client lost when a writer went."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import Fault, Severity


class TransactionLost(Fault):
    """The transaction went with its server: certainly not committed."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "40001"
    text = "transaction lost: its server went away"
    detail = "Nothing of it was committed."
    hint = "Run the transaction again."


class InFailedTransaction(Fault):
    """A statement after the loss and before the end of the transaction."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "25P02"
    text = (
        "current transaction is aborted, commands ignored until end of"
        " transaction block"
    )


class TransactionNotChained(Fault):
    """AND CHAIN, when the transaction was lost: the next cannot be like it."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "40001"
    text = "transaction lost: AND CHAIN cannot begin another like it"
    detail = "No transaction is open now."
    hint = "Begin a transaction."


class MultipleCommands(Fault):
    """Parse of several statements; told in PostgreSQL's words, as the next two."""

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
    """The server went after it was sent something that it may have carried out."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "08007"
    text = "statement outcome unknown: its server went away before it answered"
    hint = "Find out whether it took effect before running it again."


class StatementEnded(Fault):
    """The server ended the connection, with a FATAL; the client's goes on.

    The text and SQLSTATE are the server's own, as the error of one statement.
    """

    severity: ClassVar[Severity] = "ERROR"
    text = "{message}"
    text_limit: ClassVar[int | None] = None
    detail = (
        "The server ended its connection and has undone the statement, which was not"
        " run again: {why}."
    )

    @property
    def cause(self) -> str:
        """Not the server's words, which the SQLSTATE stands for."""
        return "statement ended by its server"

    def __init__(self, *, message: str, sqlstate: str, why: str) -> None:
        """Take the server's text and SQLSTATE, and why nothing is run again."""
        super().__init__(message=message, why=why)
        self.sqlstate = sqlstate


class SessionEnded(Fault):
    """The server of a session ended the connection, in its own words."""

    text = "{message}"
    text_limit: ClassVar[int | None] = None
    hint = "Connect again; new connections are served as soon as there is a writer."

    @property
    def cause(self) -> str:
        """Not the server's words, which the SQLSTATE stands for."""
        return "session ended by its server"

    def __init__(self, *, message: str, sqlstate: str) -> None:
        """Take the server's text and SQLSTATE."""
        super().__init__(message=message)
        self.sqlstate = sqlstate


class SessionLost(Fault):
    """The server of a session, and with it all that the session had there."""

    sqlstate = "57P01"
    text = "server connection lost: {reason}"
    hint = "Connect again; new connections are served as soon as there is a writer."

    @property
    def cause(self) -> str:
        """With its reason, of which there are only some."""
        return self.text
