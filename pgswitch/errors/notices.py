"""Notices: messages that interrupt nothing."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.report import LogLevelName, MessageFields, Severity


class Notice(MessageFields):
    """Base of the notices, which are not exceptions."""

    severity: ClassVar[Severity] = "NOTICE"
    log_level: ClassVar[LogLevelName] = "info"
    text_limit: ClassVar[int | None] = None
    sqlstate = "00000"
    text = "{text}"


class ClientQueued(Notice):
    """The client has waited for a server for query_wait_notify seconds."""

    text = "No server connection available in postgres backend, client being queued"
    remedy = "Look at SHOW POOLS if it happens often."


class SetIgnored(Notice):
    """SET of a session setting, which the console does not have."""

    text = "SET ignored"
    remedy = "Nothing."


class TlsNotApplied(Notice):
    """The new TLS settings do not work; the old ones stay in force."""

    text = "TLS settings could not be applied, still using old configuration"
    remedy = "The log names the problem."


class ConsoleUsage(Notice):
    """SHOW HELP; the list of commands is in DETAIL."""

    text = "Console usage"
    remedy = "Nothing."
