"""Loads the file into a ``Configuration``, or lists everything that is wrong with it.

Loading is all or nothing: the result is a new value, made only from the defaults and
the file; a file with any problem gives no result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pgswitch.config.entries import (
    InvalidValue,
    read_database,
    read_peer,
    read_setting,
    read_user,
)
from pgswitch.config.ini import Entry, IniContent, read_ini, read_text
from pgswitch.config.model import (
    SETTINGS,
    Configuration,
    DatabaseSpec,
    PeerSpec,
    Settings,
    UserSpec,
)
from pgswitch.config.settings import SETTING_ALIASES

MAIN_SECTION = "pgbouncer"
"""The section of the settings; a file without it is refused."""

SECTIONS = (MAIN_SECTION, "databases", "users", "peers")


class ConfigError(Exception):
    """The file, or a value given to SET, is refused; ``problems`` are log lines."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load(path: str, *, read: Callable[[str], str] = read_text) -> Configuration:
    """Return the configuration that the file at ``path`` describes.

    ``read`` returns the text of a file or raises ``OSError``. Raises ``ConfigError``
    with every problem found: a syntax error ends the reading, an invalid value does
    not. The setting ``conffile`` is ``path`` unless the file sets it.
    """
    reading = read_ini(path, read)
    content = _Content()
    problems = _unknown_sections(reading)
    for entry in reading.entries:
        try:
            content.take(entry)
        except InvalidValue as refused:
            problems.append(refused.line(entry.place))
    problems += [*content.without_user(), *reading.problems]
    if not problems and MAIN_SECTION not in reading.sections:
        problems.append("load_init_file: main section missing from config file")
    if problems:
        raise ConfigError(problems)
    return content.configuration(path, tuple(dict.fromkeys(reading.files)))


def with_setting(configuration: Configuration, key: str, text: str) -> Configuration:
    """Return ``configuration`` with one setting changed, as the console's SET does.

    A setting that only a restart changes is accepted and ignored. Raises
    ``ConfigError`` for an unknown name or an invalid value.
    """
    about = SETTINGS.get(SETTING_ALIASES.get(key, key))
    if about is not None and not about.reloadable:
        return configuration
    try:
        name, value = read_setting(MAIN_SECTION, key, text)
    except InvalidValue as refused:
        raise ConfigError([refused.line()]) from None
    settings = replace(configuration.settings, **{name: value})
    return replace(configuration, settings=settings)


class _Content:
    """The entries of the file read so far; a later line overrides an earlier one."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._databases: dict[str, DatabaseSpec] = {}
        self._users: dict[str, UserSpec] = {}
        self._peers: dict[int, PeerSpec] = {}
        self._places: dict[str, object] = {}
        """Positions of the databases in the file."""

    def without_user(self) -> Iterator[str]:
        """Yield a problem for each cluster that has no user to monitor it with."""
        if self._settings.get("auth_user") is not None:
            return
        for name, spec in self._databases.items():
            if spec.topology_query and spec.user is None and spec.auth_user is None:
                refused = InvalidValue(
                    f"topology_query without user of database {name}",
                    "a topology_query with user= (and its password) on the same line,"
                    " or with auth_user",
                )
                yield refused.line(self._places[name])

    def take(self, entry: Entry) -> None:
        """Read one entry; raises ``InvalidValue``."""
        match entry.section:
            case None:
                raise InvalidValue(
                    f"load_init_file: value without section: {entry.key}",
                    f"a line [{MAIN_SECTION}] before it",
                )
            case "pgbouncer":
                name, value = read_setting(MAIN_SECTION, entry.key, entry.value)
                self._settings[name] = value
            case "databases":
                database = read_database(entry.key, entry.value)
                self._databases[database.name] = database
                self._places[database.name] = entry.place
            case "users":
                user = read_user(entry.key, entry.value)
                self._users[user.name] = user
            case "peers":
                peer = read_peer(entry.key, entry.value)
                self._peers[peer.peer_id] = peer

    def configuration(self, path: str, files: tuple[str, ...]) -> Configuration:
        """Return the result, with defaults for everything the file does not set."""
        return Configuration(
            settings=Settings(**{"conffile": path, **self._settings}),
            databases=MappingProxyType(self._databases),
            users=MappingProxyType(self._users),
            peers=MappingProxyType(self._peers),
            path=path,
            files=files,
            set_names=frozenset(self._settings),
        )


def _unknown_sections(reading: IniContent) -> list[str]:
    return [
        InvalidValue(
            f'invalid section "{name}"',
            ", ".join(f"[{section}]" for section in SECTIONS),
        ).line(place)
        for name, place in reading.sections.items()
        if name not in SECTIONS
    ]
