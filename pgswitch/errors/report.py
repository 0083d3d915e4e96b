"""What every fault and notice is made of."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

Severity = Literal["FATAL", "ERROR", "NOTICE"]
LogLevelName = Literal["debug", "info", "warn", "error", "critical"]

PROTOCOL_VIOLATION: Final = "08P01"
"""SQLSTATE that PgBouncer gives nearly everything."""

TEXT_LIMIT: Final = 127
"""Longest reason text, in UTF-8 bytes, that PgBouncer sends to a client."""

UTF8_MARK_MASK: Final = 0xC0
UTF8_CONTINUATION: Final = 0x80
"""A byte inside a character, seen through the mask (RFC 3629, section 3)."""

SHOWN_HEADER: Final = 8
"""How many bytes of a bad header are shown, as twice as many hexadecimal digits."""


def cut_text(text: str, limit: int) -> str:
    """Return ``text`` cut to at most ``limit`` UTF-8 bytes, no character halved."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) <= limit:
        return text
    while limit > 0 and raw[limit] & UTF8_MARK_MASK == UTF8_CONTINUATION:
        limit -= 1
    return raw[:limit].decode("utf-8", "surrogateescape")


class MessageFields:
    """What faults and notices share: the fields of one message to a client.

    Class attributes are templates; an instance has them filled in. ``text_limit``
    is the length in bytes at which the text is cut, None for never.
    """

    severity: ClassVar[Severity]
    log_level: ClassVar[LogLevelName] = "warn"
    text_limit: ClassVar[int | None] = TEXT_LIMIT
    sqlstate: str = PROTOCOL_VIOLATION
    text: str = ""
    detail: str | None = None
    hint: str | None = None
    note: str | None = None
    """What only the log is told, before it is told of the end."""

    def __init__(
        self,
        *,
        detail: str | None = None,
        hint: str | None = None,
        **values: object,
    ) -> None:
        """Fill the class's templates.

        ``detail`` and ``hint`` replace those of the class and are taken as they
        are; ``values`` fill the placeholders. KeyError if one of them is missing.
        """
        super().__init__()
        text = self.text.format_map(values)
        limit = self.text_limit
        self.text = text if limit is None else cut_text(text, limit)
        self.detail = detail if detail is not None else _fill(self.detail, values)
        self.hint = hint if hint is not None else _fill(self.hint, values)
        self.note = _fill(self.note, values)

    def __str__(self) -> str:
        """Return the text, as log lines show it."""
        return self.text

    def __repr__(self) -> str:
        """Return class name and text."""
        return f"{type(self).__name__}({self.text!r})"


def _fill(template: str | None, values: dict[str, object]) -> str | None:
    """Return the template with its placeholders filled, None for None."""
    return None if template is None else template.format_map(values)


class Fault(MessageFields, Exception):
    """Something went wrong that a client is told of, or closed for.

    FATAL: the connection is closed after the message, no ReadyForQuery follows.
    ERROR: the connection stays and ReadyForQuery follows (console).
    """

    severity: ClassVar[Severity] = "FATAL"
    is_silent: ClassVar[bool] = False

    @property
    def cause(self) -> str:
        """The text as its class has it, with what may be anything left open."""
        template = type(self).text
        return self.text if template == "{reason}" else template


class SilentClose(Fault):
    """The connection is closed without a message; the reason goes to the log."""

    is_silent: ClassVar[bool] = True
    log_level: ClassVar[LogLevelName] = "info"
    text = "{reason}"

    def __init__(self, reason: str) -> None:
        """Take the reason as the log shall show it."""
        super().__init__(reason=reason)
