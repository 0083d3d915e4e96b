"""What a configuration amounts to here, setting by setting: for who moves in.

Each setting that the file has either acts as in PgBouncer, or acts and differs in a way
that is worth knowing, or is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from pgswitch.config.fields import Setting
from pgswitch.config.model import (
    DATABASE_KEYS,
    PEER_KEYS,
    SETTINGS,
    USER_KEYS,
    Configuration,
)

_LOGINS: Final = "as many servers log in at a time as clients wait"
DIFFERENCES: Final = {
    ("pgbouncer", "default_pool_size"): _LOGINS,
    ("databases", "pool_size"): _LOGINS,
    ("users", "pool_size"): _LOGINS,
    ("users", "client_idle_timeout"): "it ends idle clients of that user only",
    ("pgbouncer", "max_prepared_statements"): (
        "a wrong name is the server's own ERROR, not the end of the connection;"
        " PREPARE and EXECUTE as SQL work too"
    ),
    ("pgbouncer", "server_reset_query"): (
        "a server on which it fails is closed, not used again"
    ),
    ("pgbouncer", "suspend_timeout"): "logins under way are let finish in this time",
    ("pgbouncer", "verbose"): "from 2 on every message is logged",
}
"""By section and name; docs/differences.md has those that belong to no setting."""

NO_EFFECT: Final = "no effect"
"""Begins the meaning of a setting that is without any here."""

HIDDEN: Final = "********"
SECRETS: Final = frozenset({"password"})


class SettingEffect(Enum):
    """What becomes of a setting."""

    ACTS = "acts"
    DIFFERS = "differs"
    IGNORED = "ignored"


class Line(NamedTuple):
    """One setting of the file."""

    section: str
    entry: str
    """Name of the database, user or peer; empty in the main section."""
    name: str
    value: str
    verdict: SettingEffect
    note: str = ""


def report(configuration: Configuration) -> list[Line]:
    """Return a line for each setting that the file has, section by section."""
    lines = [
        _line("pgbouncer", "", name, SETTINGS[name], configuration.settings)
        for name in SETTINGS
        if name in configuration.set_names
    ]
    entries: tuple[tuple[str, Mapping[Any, object], Mapping[str, Setting]], ...] = (
        ("databases", configuration.databases, DATABASE_KEYS),
        ("users", configuration.users, USER_KEYS),
        ("peers", configuration.peers, PEER_KEYS),
    )
    for section, specs, keys in entries:
        for name, spec in specs.items():
            lines += _entry(section, str(name), spec, keys)
    return lines


def _entry(
    section: str, name: str, spec: object, keys: Mapping[str, Setting]
) -> Iterator[Line]:
    for key, about in keys.items():
        value = getattr(spec, key)
        if value is not None and about.kind.show(value) != about.default:
            yield _line(section, name, key, about, spec)


def _line(section: str, entry: str, name: str, about: Setting, holder: object) -> Line:
    value = getattr(holder, name)
    text = "" if value is None else about.kind.show(value)
    verdict, note = SettingEffect.ACTS, ""
    if not about.acts:
        verdict, note = SettingEffect.IGNORED, "has no effect yet"
    elif about.meaning.startswith(NO_EFFECT):
        verdict = SettingEffect.IGNORED
        note = about.meaning.removeprefix(NO_EFFECT).lstrip(": ")
    elif (section, name) in DIFFERENCES:
        verdict, note = SettingEffect.DIFFERS, DIFFERENCES[section, name]
    shown = HIDDEN if name in SECRETS else text
    return Line(section, entry, name, shown, verdict, note)
