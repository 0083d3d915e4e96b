"""Loads the file into a ``Configuration``, or lists everything that is wrong with it.

Loading is all or nothing: the result is a new value, made only from the defaults and
the file; a file with any problem gives no result.

The rules of its lines (sections, keys, values, ``%include``): spaces at both ends of a
line are ignored; a line that begins with ``;`` or ``#`` is a comment, and there are no
others; ``[section]`` holds until the next one, also into and out of an included file; a
key is a word or quoted; a value is the rest of the line, without quotes or
continuation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pgswitch.config.entries import (
    InvalidValue,
    read_database,
    read_peer,
    read_setting,
    read_user,
)
from pgswitch.config.model import (
    SETTINGS,
    Configuration,
    DatabaseSpec,
    PeerSpec,
    Settings,
    UserSpec,
)
from pgswitch.config.settings import SETTING_ALIASES

MAX_INCLUDE_DEPTH = 10
"""Maximum depth of nested includes, not counting the first file."""

_SECTION = re.compile(r"\[\s*([^\]]*?)\s*\]")
_INCLUDE = re.compile(r"%include\s+(\S.*)")
_PAIR = re.compile(r"""(?:([A-Za-z0-9_.*-]+)|'([^']*)'|"([^"]*)")[ \t]*=[ \t]*(.*)""")


class FilePosition(NamedTuple):
    """A line of a file; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        """Return ``file:line``."""
        return f"{self.file}:{self.line}"


class Entry(NamedTuple):
    """One ``key = value`` line; ``section`` is None before the first header."""

    section: str | None
    key: str
    value: str
    place: FilePosition


@dataclass(slots=True)
class IniContent:
    """The content of a file and its includes, as far as they could be read.

    ``sections`` maps each header to its first position; ``problems`` are log lines.
    Reading stops at the first problem.
    """

    entries: list[Entry] = field(default_factory=list)
    sections: dict[str, FilePosition] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list, compare=False)
    """Paths of the files read, in order."""


def read_text(path: str) -> str:
    """Return the text of a file; bytes that are not UTF-8 survive as surrogates.

    A leading byte order mark, which some editors write, is dropped.  Raises
    ``OSError``.
    """
    return Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")


def read_ini(path: str, read: Callable[[str], str] = read_text) -> IniContent:
    """Return the content of the file at ``path`` and of the files it includes.

    Relative paths, of includes too, start at the working directory, as in PgBouncer.
    ``read`` returns a file's text or raises ``OSError``.
    """
    reader = _Reader(read)
    reader.file(path, 0)
    return reader.reading


class _Reader:
    """The state of reading one file: the result so far and the current section."""

    def __init__(self, read: Callable[[str], str]) -> None:
        """Start empty; ``read`` is as for ``read_ini``."""
        self._read = read
        self._section: str | None = None
        self.reading = IniContent()

    def file(self, path: str, depth: int) -> bool:
        """Read one file at an include depth; return False if reading stopped."""
        try:
            text = self._read(path)
        except OSError as error:
            reason = error.strerror or os.strerror(error.errno or 0)
            return self._stop(f'could not load file "{path}": {reason}')
        self.reading.files.append(path)
        return all(
            self._line(line.strip(), FilePosition(path, number), depth)
            for number, line in enumerate(text.split("\n"), 1)
        )

    def _line(self, line: str, place: FilePosition, depth: int) -> bool:
        if not line or line[0] in ";#":
            return True
        if header := _SECTION.fullmatch(line):
            self._section = header[1]
            self.reading.sections.setdefault(header[1], place)
            return True
        if include := _INCLUDE.fullmatch(line):
            return self._include(include[1], place, depth)
        if pair := _PAIR.fullmatch(line):
            word, single, double, value = pair.groups()
            key = next(each for each in (word, single, double) if each is not None)
            self.reading.entries.append(Entry(self._section, key, value, place))
            return True
        return self._stop(
            f"syntax error in configuration ({place}), stopping loading; accepted:"
            " key = value, [section], %include file, or a comment after ; or #"
        )

    def _include(self, path: str, place: FilePosition, depth: int) -> bool:
        if depth >= MAX_INCLUDE_DEPTH:
            return self._stop(
                f"include nesting level too deep ({place}), stopping loading;"
                f" accepted: {MAX_INCLUDE_DEPTH} levels"
            )
        return self.file(path, depth + 1) or self._stop(
            f"error processing include file in configuration ({place}),"
            " stopping loading"
        )

    def _stop(self, problem: str) -> bool:
        self.reading.problems.append(problem)
        return False


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
