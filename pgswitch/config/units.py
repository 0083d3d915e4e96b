"""The types of configuration values, and the dataclass fields that carry them.

A ``ValueType`` parses the text of a value, formats a value as text, and says in words
what it accepts. The rules are those of PgBouncer's configuration file: integers in the
notations of C (``0x1f``, ``0777``), times in seconds with an optional fraction, words
in either case.

The dataclasses of this folder are the tables of all settings and keys: a field made by
``setting`` holds the type, default and meaning of its value.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from pgswitch.types import CONSOLE_DATABASES, AuthType, PoolMode

_C_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+)", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]+", re.ASCII)
_SECONDS = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LDAP_PASSWORD = re.compile(
    r'(?i)(ldapbindpasswd\s*=\s*)("(?:[^"]|"")*(?:"|$)|[^\s,]*)'
)
_INT_MIN, _INT_MAX, _UINT_MAX = -(2**31), 2**31 - 1, 2**32 - 1
_MAX_TIME = 1e12  # seconds; anything larger is a typing mistake, or infinity

TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_PROTOCOLS = (
    "tlsv1.0",
    "tlsv1.1",
    "tlsv1.2",
    "tlsv1.3",
    "tlsv1",
    "all",
    "secure",
    "default",
)
SYSLOG_FACILITIES = (
    "auth",
    "authpriv",
    "daemon",
    "user",
    *(f"local{number}" for number in range(8)),
)


class WordList(tuple[str, ...]):  # noqa: SLOT001  a tuple cannot have slots
    """A list of words that remembers how it was written, for ``SHOW CONFIG``."""

    text: str

    @classmethod
    def split(cls, text: str, separators: str) -> WordList:
        """Return the words of ``text``, split at any character of ``separators``."""
        pattern = f"[{re.escape(separators)}]"
        words = (word.strip() for word in re.split(pattern, text))
        made = cls(word for word in words if word)
        made.text = text
        return made


@dataclass(frozen=True, slots=True)
class ValueType:
    """One way of writing a value.

    ``parse`` takes the text without surrounding blanks and raises ``ValueError`` for
    one it does not accept; ``show`` is its inverse and never sees None.
    """

    name: str
    accepts: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str


def c_integer(text: str, lowest: int = _INT_MIN, highest: int = _INT_MAX) -> int:
    """Return an integer written in C notation, so ``0777`` is octal.

    Raises ``ValueError`` for other text, and outside ``lowest`` to ``highest``.
    """
    if not _C_INTEGER.fullmatch(text):
        message = f"not a whole number: {text!r}"
        raise ValueError(message)
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits.isdecimal() and digits[0] == "0"
    value = int(digits, 8 if octal else 0)
    return _within(-value if text[0] == "-" else value, lowest, highest)


def decimal_integer(text: str, lowest: int = _INT_MIN, highest: int = _INT_MAX) -> int:
    """Return a decimal integer; raises ``ValueError`` for other text."""
    if not _DECIMAL.fullmatch(text):
        message = f"not a whole number: {text!r}"
        raise ValueError(message)
    return _within(int(text), lowest, highest)


def seconds(text: str) -> float:
    """Return a time of 0 seconds or more; raises ``ValueError`` for other text."""
    value = signed_seconds(text)
    if value < 0:
        message = f"a negative time: {text!r}"
        raise ValueError(message)
    return value


def signed_seconds(text: str) -> float:
    """Return a time in seconds, perhaps negative; raises ``ValueError``."""
    if not _SECONDS.fullmatch(text) or abs(float(text)) > _MAX_TIME:
        message = f"not a time in seconds: {text!r}"
        raise ValueError(message)
    return float(text)


def _within(value: int, lowest: int, highest: int) -> int:
    if not lowest <= value <= highest:
        message = f"{value} is not between {lowest} and {highest}"
        raise ValueError(message)
    return value


def _integer_kind(name: str, accepts: str, lowest: int, highest: int) -> ValueType:
    return ValueType(name, accepts, lambda text: c_integer(text, lowest, highest))


def _words_kind(name: str, words: tuple[str, ...]) -> ValueType:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return text.lower()

    return ValueType(name, "one of " + ", ".join(words), parse)


def _list_kind(name: str, accepts: str, separators: str) -> ValueType:
    return ValueType(
        name, accepts, lambda text: WordList.split(text, separators), _join
    )


def _join(words: tuple[str, ...]) -> str:
    return words.text if isinstance(words, WordList) else ", ".join(words)


def _pool_mode(text: str) -> PoolMode:
    modes = {str(mode): mode for mode in PoolMode}
    if text.lower() not in modes:
        raise ValueError(text)
    return modes[text.lower()]


def _facility(text: str) -> str:
    # PgBouncer takes an unknown word as `daemon`; a log is better than no start.
    return text.lower() if text.lower() in SYSLOG_FACILITIES else "daemon"


def _tls_protocols(text: str) -> WordList:
    words = WordList.split(text, ",:")
    unknown = [
        word for word in words if word.lower().removeprefix("!") not in TLS_PROTOCOLS
    ]
    if unknown:
        raise ValueError(unknown[0])
    return words


def _switch(text: str) -> bool:
    words = {
        **dict.fromkeys(("true", "yes", "on", "1"), True),
        **dict.fromkeys(("false", "no", "off", "0"), False),
    }
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _or_unset(
    read: Callable[[str], Any], lowest: int
) -> Callable[[str], int | float | None]:
    """Return a parser that reads a number below ``lowest`` as "not set here"."""

    def parse(text: str) -> int | float | None:
        value: int | float = read(text)
        return value if value >= lowest else None

    return parse


def _ordinary_database(text: str) -> str:
    if text in CONSOLE_DATABASES:
        raise ValueError(text)
    return text


def _positive_time(text: str) -> float | None:
    value = signed_seconds(text)
    return value if value > 0 else None


TEXT = ValueType("text", "any text", str)
LDAP_OPTIONS = ValueType(
    "text",
    "key=value pairs",
    str,
    # SHOW CONFIG must not reveal the password for searching the directory.
    lambda text: _LDAP_PASSWORD.sub(r"\1***", text),
)
DATABASE_NAME = ValueType(
    "text",
    "a database's name, but not " + " or ".join(CONSOLE_DATABASES),
    _ordinary_database,
)
PATH = ValueType("path", "a path, where ~ is a home directory", os.path.expanduser)
INTEGER = _integer_kind("integer", "a whole number", _INT_MIN, _INT_MAX)
UNSIGNED = _integer_kind("integer", "a number from 0 to 4294967295", 0, _UINT_MAX)
ITERATIONS = _integer_kind("integer", "a number from 1 to 10000000", 1, 10_000_000)
PEER_NUMBER = _integer_kind("integer", "a whole number from 0 to 65535", 0, 65535)
PORT_OR_ZERO = _integer_kind("port", "a port number from 0 to 65535", 0, 65535)
SECONDS = ValueType(
    "time",
    "a number of seconds, 0 or more, fractions allowed",
    seconds,
    "{:g}".format,
)
SWITCH = ValueType(
    "switch",
    "true or false (also yes and no, on and off, 1 and 0)",
    _switch,
    lambda value: "true" if value else "false",
)
NAMES = _list_kind("list", "names separated by commas or spaces", ", \t")
COMMA_LIST = _list_kind("list", "comma-separated words", ",")
POOL_MODE = ValueType("word", "one of session, transaction, statement", _pool_mode)
AUTH_TYPE = ValueType(
    "word",
    "one of " + ", ".join(map(str, AuthType)),
    lambda text: AuthType(text.lower()),
)
LOG_FORMAT = _words_kind("word", ("text", "json"))
TLS_MODE = _words_kind("word", TLS_MODES)
DH_PARAMS = _words_kind("word", ("none", "auto", "legacy"))
REROUTE = _words_kind("word", ("refuse", "ignore"))
SSL_NEGOTIATION = _words_kind("word", ("postgres", "direct"))
LOAD_BALANCE = _words_kind("word", ("round-robin", "disable"))
TLS_PROTOCOL_LIST = ValueType(
    "list",
    "a comma-separated list of " + ", ".join(TLS_PROTOCOLS),
    _tls_protocols,
    _join,
)
FACILITY = ValueType("word", "one of " + ", ".join(SYSLOG_FACILITIES), _facility)

# Types of connection strings and of [users]: decimal numbers, most of them with a way
# to say "not set here".
PORT = ValueType(
    "port",
    "a port number from 1 to 65535",
    lambda text: decimal_integer(text, 1, 65535),
)
COUNT = ValueType(
    "integer",
    "a whole number; a negative one means not set here",
    _or_unset(decimal_integer, 0),
)
POSITIVE_COUNT = ValueType(
    "integer",
    "a whole number; 0 or a negative one means not set here",
    _or_unset(decimal_integer, 1),
)
TIME = ValueType(
    "time",
    "a number of seconds; a negative one means not set here",
    _or_unset(signed_seconds, 0),
    "{:g}".format,
)
POSITIVE_TIME = ValueType(
    "time",
    "a number of seconds; 0 or a negative one means not set here",
    _positive_time,
    "{:g}".format,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, or one key of another section.

    ``default`` is text as in the file, None for no default; ``reloadable`` is False if
    only a restart changes the value.
    """

    kind: ValueType
    default: str | None
    meaning: str
    reloadable: bool = True


def setting(
    kind: ValueType,
    default: str | None,
    meaning: str,
    *,
    boot: bool = False,
    secret: bool = False,
) -> Any:  # noqa: ANN401  what dataclasses.field is declared to return
    """Return the dataclass field of one setting.

    ``boot``: the value is read only at the start; ``secret``: repr() hides it.
    """
    return field(
        repr=not secret,
        default=None if default is None else kind.parse(default),
        metadata={"setting": Setting(kind, default, meaning, not boot)},
    )


def table_of(cls: type) -> Mapping[str, Setting]:
    """Map names to Settings, for a dataclass whose fields ``setting`` made."""
    return MappingProxyType(
        {
            each.name: each.metadata["setting"]
            for each in fields(cls)
            if "setting" in each.metadata
        }
    )
