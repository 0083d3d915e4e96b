"""Describes a configuration setting by setting: ``pgswitch check`` and SHOW CONFIG.

For an operator who comes from PgBouncer, each setting in the file either acts as there,
or acts and differs in a way worth knowing, or is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from pgswitch.config.model import (
    DATABASE_KEYS,
    PEER_KEYS,
    SETTINGS,
    USER_KEYS,
    Configuration,
    Settings,
)
from pgswitch.config.units import Setting, ValueType

_LOGINS: Final = "as many servers log in at once as clients are waiting"
DIFFERENCES: Final = {
    ("pgbouncer", "default_pool_size"): _LOGINS,
    ("databases", "pool_size"): _LOGINS,
    ("users", "pool_size"): _LOGINS,
    ("users", "client_idle_timeout"): "it disconnects idle clients of that user only",
    ("pgbouncer", "max_prepared_statements"): (
        "an unknown name gives the server's own ERROR and does not end the connection;"
        " PREPARE and EXECUTE as SQL work too"
    ),
    ("pgbouncer", "server_reset_query"): (
        "if it fails, the server is closed and not used again"
    ),
    ("pgbouncer", "suspend_timeout"): "logins in progress may finish within this time",
    ("pgbouncer", "verbose"): "from 2 on every message is logged",
}
"""By section and name; docs/differences.md has the differences of no setting."""

NO_EFFECT: Final = "no effect"
"""The meaning of a setting without effect begins with this."""

HIDDEN: Final = "********"
SECRETS: Final = frozenset({"password"})


class SettingEffect(Enum):
    """What a setting does, compared with PgBouncer."""

    ACTS = "acts"
    DIFFERS = "differs"
    IGNORED = "ignored"


class Line(NamedTuple):
    """One setting in the file."""

    section: str
    entry: str
    """Name of the database, user or peer; empty in the main section."""
    name: str
    value: str
    verdict: SettingEffect
    note: str = ""


def report(configuration: Configuration) -> list[Line]:
    """Return a line for each setting in the file, section by section."""
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
    if about.meaning.startswith(NO_EFFECT):
        verdict = SettingEffect.IGNORED
        note = about.meaning.removeprefix(NO_EFFECT).lstrip(": ")
    elif (section, name) in DIFFERENCES:
        verdict, note = SettingEffect.DIFFERS, DIFFERENCES[section, name]
    shown = HIDDEN if name in SECRETS else text
    return Line(section, entry, name, shown, verdict, note)


class ConfigRow(NamedTuple):
    """One setting as text; None is unset. ``changeable`` is ``yes`` or ``no``."""

    key: str
    value: str | None
    default: str | None
    changeable: str


def config_rows(settings: Settings) -> list[ConfigRow]:
    """Return a row of SHOW CONFIG for each setting, in the order of ``SETTINGS``.

    Times are formatted with C's ``%g``, numbers in decimal (so ``unix_socket_mode`` is
    511 where the file says 0777), words by name, lists as in the file.  A default is
    text as in a file, like in PgBouncer.
    """
    return [
        ConfigRow(
            name,
            _text(about.kind, getattr(settings, name)),
            about.default,
            "yes" if about.reloadable else "no",
        )
        for name, about in SETTINGS.items()
    ]


def _text(kind: ValueType, value: Any) -> str | None:  # noqa: ANN401  of the kind's type
    return None if value is None else kind.show(value)
