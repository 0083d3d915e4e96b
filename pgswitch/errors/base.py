"""The base of all errors and notices, and the exception that ends the process.

:class:`FatalError` is sent to no client: it ends the process with a FATAL line and exit
status 1.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, NoReturn

Severity = Literal["FATAL", "ERROR", "NOTICE"]
LogLevelName = Literal["debug", "info", "warn", "error", "critical"]

PROTOCOL_VIOLATION: Final = "08P01"
"""The SQLSTATE of nearly all errors of PgBouncer."""

TEXT_LIMIT: Final = 127
"""Maximum length in UTF-8 bytes of a text that PgBouncer sends to a client."""

UTF8_MARK_MASK: Final = 0xC0
UTF8_CONTINUATION: Final = 0x80
"""A continuation byte of UTF-8, after the mask (RFC 3629, section 3)."""

SHOWN_HEADER: Final = 8
"""Bytes of a bad header to show, each as two hexadecimal digits."""


def cut_text(text: str, limit: int) -> str:
    """Return ``text`` cut to at most ``limit`` UTF-8 bytes, between characters."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) <= limit:
        return text
    while limit > 0 and raw[limit] & UTF8_MARK_MASK == UTF8_CONTINUATION:
        limit -= 1
    return raw[:limit].decode("utf-8", "surrogateescape")


class MessageFields:
    """An error or notice: the fields of one message to a client.

    Class attributes are templates; the constructor fills them in. ``text_limit``
    is the length in bytes at which the text is cut, None for never. The docstring of
    each class says what causes it; with ``remedy`` it makes the page of errors.
    """

    severity: ClassVar[Severity]
    log_level: ClassVar[LogLevelName] = "warn"
    text_limit: ClassVar[int | None] = TEXT_LIMIT
    remedy: ClassVar[str] = ""
    """What to do about it, for the reference page; empty where ``hint`` says it."""
    sqlstate: str = PROTOCOL_VIOLATION
    text: str = ""
    detail: str | None = None
    hint: str | None = None
    note: str | None = None
    """A line for the log only, before the line about the end of the connection."""

    def __init__(
        self,
        *,
        detail: str | None = None,
        hint: str | None = None,
        **values: object,
    ) -> None:
        """Fill the templates of the class with ``values``.

        ``detail`` and ``hint`` replace those of the class and are not templates.
        Raises KeyError if a value is missing.
        """
        super().__init__()
        text = self.text.format_map(values)
        limit = self.text_limit
        self.text = text if limit is None else cut_text(text, limit)
        self.detail = detail if detail is not None else _fill(self.detail, values)
        self.hint = hint if hint is not None else _fill(self.hint, values)
        self.note = _fill(self.note, values)

    def __str__(self) -> str:
        """Return the text, for log lines."""
        return self.text

    def __repr__(self) -> str:
        """Return class name and text."""
        return f"{type(self).__name__}({self.text!r})"


def _fill(template: str | None, values: dict[str, object]) -> str | None:
    """Return the template with its placeholders filled."""
    return None if template is None else template.format_map(values)


class Fault(MessageFields, Exception):
    """An error that a client gets, or that ends its connection.

    After FATAL the connection closes without ReadyForQuery. After ERROR it stays open
    and ReadyForQuery follows.
    """

    severity: ClassVar[Severity] = "FATAL"
    is_silent: ClassVar[bool] = False

    @property
    def cause(self) -> str:
        """The text with its placeholders: what SHOW ERRORS counts."""
        template = type(self).text
        return self.text if template == "{reason}" else template


class SilentClose(Fault):
    """Ends a connection without a message; the reason goes to the log."""

    is_silent: ClassVar[bool] = True
    log_level: ClassVar[LogLevelName] = "info"
    text = "{reason}"

    def __init__(self, reason: str) -> None:
        """Take the reason for the log."""
        super().__init__(reason=reason)


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


class FatalError(Exception):
    """The service cannot start or continue; ``text`` is the whole FATAL log message.

    Start-up steps raise it (pid file, user switch, listening). Only the code that runs
    the process catches it: it logs ``text`` and exits with status 1.
    """

    def __init__(self, text: str) -> None:
        """Keep the log message.

        :param text: the log line, without the word FATAL.
        """
        super().__init__(text)
        self.text = text


def fatal(text: str) -> NoReturn:
    """Raise :class:`FatalError` with this log message."""
    raise FatalError(text)
