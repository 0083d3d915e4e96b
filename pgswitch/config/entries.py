r"""Parses the text of one entry: a setting, a database, a user or a peer.

``InvalidValue`` has PgBouncer's text and says what would be accepted. It never shows a
whole connection string, which may hold a password.

The values of ``[databases]``, ``[users]`` and ``[peers]`` are connection strings:
``key=value`` pairs separated by spaces. A value is either bare, up to the next space,
or in single quotes, where ``''`` and ``\'`` stand for one quote. A value may not be
empty. The string is one line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pgswitch.config.model import (
    DATABASE_KEYS,
    MAX_DATABASE_NAME_LENGTH,
    PEER_KEYS,
    SETTINGS,
    TEMPLATE,
    USER_KEYS,
    DatabaseSpec,
    PeerSpec,
    UserSpec,
)
from pgswitch.config.settings import SETTING_ALIASES
from pgswitch.config.units import Setting, decimal_integer
from pgswitch.types import CONSOLE_DATABASES

_SPACE = r"[ \t\r\n\f\v]*+"
# A quote ends the value only before a space or at the end. So a backslash before the
# last quote is an ordinary character where it cannot be an escape.
_PAIR = re.compile(
    rf"""
    (?P<key> [^\s=']+ ) {_SPACE}
    (?:
        = {_SPACE}
        (?: (?P<bare> [^\s']\S* )
          | (?P<quoted> ' (?: [^'\\] | '' | \\' | \\ )* ' ) (?!\S)
        )?
    )?
    """,
    re.VERBOSE,
)
_SPACES = re.compile(_SPACE)
_QUOTES = re.compile(r"(\\?)('+)")


class ConninfoSyntaxError(ValueError):
    """The text is not a connection string; says where, and never shows a value."""

    def __init__(self, position: int | None) -> None:
        """Take the index of the first wrong character, None for the end of the text."""
        where = "at its end" if position is None else f"at character {position + 1}"
        super().__init__(where)


def parse_conninfo(text: str) -> list[tuple[str, str]]:
    """Return the pairs of ``text`` in order, repeated keys included.

    Raises ``ConninfoSyntaxError``.
    """
    pairs = []
    position = _after_spaces(text, 0)
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ConninfoSyntaxError(position)
        key, bare, quoted = pair.groups()
        if bare is None and quoted is None:
            end = pair.end()
            raise ConninfoSyntaxError(end if end < len(text) else None)
        value = bare or _QUOTES.sub(_unescape, quoted[1:-1])
        if not value:
            raise ConninfoSyntaxError(pair.start("quoted"))
        pairs.append((key, value))
        position = _after_spaces(text, pair.end())
    return pairs


def _after_spaces(text: str, position: int) -> int:
    """Return the index of the first character at or after ``position`` to look at."""
    spaces = _SPACES.match(text, position)
    return position if spaces is None else spaces.end()


def _unescape(found: re.Match[str]) -> str:
    # An odd number of quotes begins with an escaped one. An even number is doubled
    # quotes only, and a backslash before them is an ordinary character.
    backslash, quotes = found.groups()
    if len(quotes) % 2 == 1:
        return "'" * ((len(quotes) + 1) // 2)
    return backslash + "'" * (len(quotes) // 2)


MAX_PEER = 65535
"""Highest number of a peer."""

_DATABASE_ALIASES: Mapping[str, str] = MappingProxyType(
    {"reserve_pool": "reserve_pool_size"}
)
_REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "auth_dbname": 'cannot use the reserved "{text}" database as an auth_dbname',
        "load_balance_hosts": "invalid load_balance_hosts: {text}",
        "pool_mode": "invalid pool mode: {text}",
        "port": "invalid port: {text}",
    }
)
"""Error texts of keys that do not have the usual one."""


class InvalidValue(ValueError):
    """Text that cannot be accepted; ``accepted`` says what can, where that helps."""

    def __init__(self, text: str, accepted: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.accepted = accepted

    def line(self, place: object = None) -> str:
        """Return the log line; ``place`` is the position in the file, if known."""
        where = "" if place is None else f" in configuration ({place})"
        hint = f"; accepted: {self.accepted}" if self.accepted else ""
        return f"{self.text}{where}{hint}"


def read_setting(section: str, key: str, text: str) -> tuple[str, Any]:
    """Return the name and the value of a setting; raises ``InvalidValue``.

    An alias in ``key`` becomes the setting's present name.
    """
    name = SETTING_ALIASES.get(key, key)
    if name not in SETTINGS:
        raise InvalidValue(
            f"unknown parameter: {section}/{key}", _nearest(key, SETTINGS)
        )
    kind = SETTINGS[name].kind
    try:
        return name, kind.parse(text)
    except ValueError:
        raise InvalidValue(
            f'invalid value "{text}" for parameter {key}', kind.accepts
        ) from None


def read_database(name: str, text: str) -> DatabaseSpec:
    """Return an entry of ``[databases]``; raises ``InvalidValue``."""
    if name in CONSOLE_DATABASES:
        raise InvalidValue(
            f'database name "{name}" is reserved', "a name other than the console's"
        )
    if len(name.encode(errors="surrogateescape")) > MAX_DATABASE_NAME_LENGTH:
        raise InvalidValue(
            f'invalid database name "{name}"',
            f"at most {MAX_DATABASE_NAME_LENGTH} bytes",
        )
    values = _read_pairs(
        text,
        DATABASE_KEYS,
        entry=f"database {name}",
        syntax="syntax error in connection string",
        unknown="unrecognized connection parameter: {key}",
        aliases=_DATABASE_ALIASES,
    )
    if name != TEMPLATE:
        values.setdefault("dbname", name)
    return DatabaseSpec(name=name, **values)


def read_user(name: str, text: str) -> UserSpec:
    """Return an entry of ``[users]``; raises ``InvalidValue``."""
    values = _read_pairs(
        text,
        USER_KEYS,
        entry=f"user {name}",
        syntax="syntax error in user settings",
        unknown="unrecognized user parameter: {key}",
    )
    return UserSpec(name=name, **values)


def read_peer(name: str, text: str) -> PeerSpec:
    """Return an entry of ``[peers]``; raises ``InvalidValue``."""
    try:
        peer_id = decimal_integer(name, 1, MAX_PEER)
    except ValueError:
        raise InvalidValue(
            "ids of peers must be a number larger than 0 and at most 65536",
            f"a whole number from 1 to {MAX_PEER}, not {name}",
        ) from None
    values = _read_pairs(
        text,
        PEER_KEYS,
        entry=f"peer {peer_id}",
        syntax="syntax error in connection string",
        unknown="unrecognized connection parameter: {key}",
    )
    if "host" not in values:
        raise InvalidValue(f"host was not provided for peer {peer_id}")
    return PeerSpec(peer_id=peer_id, **values)


def _read_pairs(
    text: str,
    keys: Mapping[str, Setting],
    *,
    entry: str,
    syntax: str,
    unknown: str,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Parse a connection string into a dict; the last of a repeated key wins."""
    try:
        pairs = parse_conninfo(text)
    except ConninfoSyntaxError as error:
        raise InvalidValue(
            f"{syntax} of {entry} {error}",
            "key=value pairs separated by spaces, a value with spaces in single quotes",
        ) from None
    values = {}
    for written, value in pairs:
        key = aliases.get(written, written)
        if key not in keys:
            raise InvalidValue(
                f"{unknown.format(key=written)} of {entry}", _nearest(written, keys)
            )
        try:
            values[key] = keys[key].kind.parse(value)
        except ValueError:
            usual = 'invalid value "{text}" for parameter {key}'
            refusal = _REFUSALS.get(key, usual).format(text=value, key=written)
            raise InvalidValue(
                f"{refusal} of {entry}", keys[key].kind.accepts
            ) from None
    return values


def _nearest(written: str, known: Iterable[str]) -> str:
    """Return names similar to ``written``; all names if they are few."""
    names = list(known)
    few = 30
    near = difflib.get_close_matches(written, names, n=3)
    return ", ".join(near or (names if len(names) <= few else ()))
