"""Reads the lines of the configuration file: sections, keys, values, ``%include``.

Nothing here knows what a key means. The rules: spaces at both ends of a line are
ignored; a line that begins with ``;`` or ``#`` is a comment, and there are no others;
``[section]`` holds until the next one, also into and out of an included file; a key is
a word or quoted; a value is the rest of the line, without quotes or continuation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

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
