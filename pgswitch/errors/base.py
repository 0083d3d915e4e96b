"""The base classes of faults and notices, and the notices."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

Severity = Literal["FATAL", "ERROR", "NOTICE"]
LogLevelName = Literal["debug", "info", "warn", "error", "critical"]

PROTOCOL_VIOLATION: Final = "08P01"
"""The SQLSTATE that PgBouncer uses for nearly every error."""

TEXT_LIMIT: Final = 127
"""Maximum length of an error text that PgBouncer sends, in UTF-8 bytes."""

UTF8_MARK_MASK: Final = 0xC0
UTF8_CONTINUATION: Final = 0x80
"""The masked bits of a byte inside a character (RFC 3629, section 3)."""

SHOWN_HEADER: Final = 8
"""How many bytes of a bad header are shown, in hexadecimal."""


def cut_text(text: str, limit: int) -> str:
    """Return ``text`` cut between characters to at most ``limit`` UTF-8 bytes."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) <= limit:
        return text
    while limit > 0 and raw[limit] & UTF8_MARK_MASK == UTF8_CONTINUATION:
        limit -= 1
    return raw[:limit].decode("utf-8", "surrogateescape")


class MessageFields:
    """The fields of ErrorResponse and NoticeResponse, shared by faults and notices.

    Class attributes are templates; an instance has them filled in. ``text_limit``
    is the maximum length of the text in bytes, None for no limit.
    """

    severity: ClassVar[Severity]
    log_level: ClassVar[LogLevelName] = "warn"
    text_limit: ClassVar[int | None] = TEXT_LIMIT
    sqlstate: str = PROTOCOL_VIOLATION
    text: str = ""
    detail: str | None = None
    hint: str | None = None
    note: str | None = None
    """Logged before the connection's closing line, never sent to the client."""

    def __init__(
        self,
        *,
        detail: str | None = None,
        hint: str | None = None,
        **values: object,
    ) -> None:
        """Fill the class's templates.

        ``detail`` and ``hint`` replace those of the class and are not templates;
        ``values`` fill the placeholders. Raises KeyError if one is missing.
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
    """Return the template with its placeholders filled, None for None."""
    return None if template is None else template.format_map(values)


class Fault(MessageFields, Exception):
    """An error that a client receives, or is disconnected for.

    FATAL: the connection is closed after the message, no ReadyForQuery follows.
    ERROR: the connection stays open and ReadyForQuery follows.
    """

    severity: ClassVar[Severity] = "FATAL"
    is_silent: ClassVar[bool] = False

    @property
    def cause(self) -> str:
        """The text for statistics: the class's template, placeholders unfilled."""
        template = type(self).text
        return self.text if template == "{reason}" else template


class SilentClose(Fault):
    """Closes the connection without a message; the reason goes to the log."""

    is_silent: ClassVar[bool] = True
    log_level: ClassVar[LogLevelName] = "info"
    text = "{reason}"

    def __init__(self, reason: str) -> None:
        """Take the reason as the log shows it."""
        super().__init__(reason=reason)


class Notice(MessageFields):
    """A NoticeResponse to a client; not an exception. Base of the classes below."""

    severity: ClassVar[Severity] = "NOTICE"
    log_level: ClassVar[LogLevelName] = "info"
    text_limit: ClassVar[int | None] = None
    sqlstate = "00000"
    text = "{text}"


class ClientQueued(Notice):
    """A client has waited for a server for ``query_wait_notify`` seconds."""

    text = "No server connection available in postgres backend, client being queued"


class SetIgnored(Notice):
    """SET of a parameter that the console does not use."""

    text = "SET ignored"


class TlsNotApplied(Notice):
    """The new TLS settings do not work; the old ones stay in force."""

    text = "TLS settings could not be applied, still using old configuration"


class ConsoleUsage(Notice):
    """SHOW HELP; the list of commands goes into DETAIL."""

    text = "Console usage"
