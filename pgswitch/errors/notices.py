"""What clients are told while all goes on."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.report import LogLevelName, MessageFields, Severity


class Notice(MessageFields):
    """Something a client is told in passing; not an exception. Base of those below."""

    severity: ClassVar[Severity] = "NOTICE"
    log_level: ClassVar[LogLevelName] = "info"
    text_limit: ClassVar[int | None] = None
    sqlstate = "00000"
    text = "{text}"


class ClientQueued(Notice):
    """A client waits for a server since ``query_wait_notify`` seconds."""

    text = "No server connection available in postgres backend, client being queued"


class SetIgnored(Notice):
    """SET of something that the console has no use for."""

    text = "SET ignored"


class TlsNotApplied(Notice):
    """The new TLS settings do not work."""

    text = "TLS settings could not be applied, still using old configuration"


class ConsoleUsage(Notice):
    """SHOW HELP; the list of commands goes into DETAIL."""

    text = "Console usage"
