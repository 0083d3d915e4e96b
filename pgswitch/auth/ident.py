r"""Ident maps: which system user or certificate may log in as which database user.

A line is ``map system-name database-user``.  A system name that begins with a slash
is a regular expression; ``\1`` in the database user then stands for its first group.
``all`` in place of the database user is everybody.  (PostgreSQL's manual, "User Name
Maps"; regular expressions are Python's.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pgswitch.auth.tokenizer import Token, TokenizeError, tokenize

_FIELDS: Final = 3


class MapLine(NamedTuple):
    """One line of one map: either ``name`` or ``pattern`` is there."""

    name: str
    pattern: re.Pattern[str] | None
    user: str
    everybody: bool

    def allows(self, system_name: str, user: str) -> bool:
        """Tell whether somebody of this system name may be this user."""
        wanted = self.user
        if self.pattern is None:
            if system_name != self.name:
                return False
        else:
            found = self.pattern.search(system_name)
            if found is None:
                return False
            if self.pattern.groups:
                wanted = wanted.replace(r"\1", found[1] or "")
        return self.everybody or wanted == user


class IdentMap:
    """All lines of one name."""

    def __init__(self, lines: tuple[MapLine, ...]) -> None:
        """Take the lines in their order, which does not matter."""
        self._lines = lines

    def allows(self, system_name: str, user: str) -> bool:
        """Tell whether any line lets this system name be this user."""
        return any(line.allows(system_name, user) for line in self._lines)


class IdentProblem(NamedTuple):
    """A line that is not understood, and so left out."""

    line: int
    reason: str


def parse_ident(text: str) -> tuple[Mapping[str, IdentMap], list[IdentProblem]]:
    """Return the maps by name, and the lines that are none."""
    maps: dict[str, list[MapLine]] = {}
    problems: list[IdentProblem] = []
    for number, line in logical_lines(text):
        try:
            found = tokenize(line)
            if found:
                name, entry = _line([word for field in found for word in field])
                maps.setdefault(name, []).append(entry)
        except (TokenizeError, re.error) as error:
            problems.append(IdentProblem(number, str(error)))
    return {name: IdentMap(tuple(lines)) for name, lines in maps.items()}, problems


def _line(words: list[Token]) -> tuple[str, MapLine]:
    if len(words) != _FIELDS:
        raise TokenizeError("not a map, a system name and a database user")
    name, system, user = words
    pattern = None
    if not system.is_quoted and system.text.startswith("/"):
        pattern = re.compile(system.text[1:])
    if r"\1" in user.text and pattern is not None and not pattern.groups:
        raise TokenizeError(r"\1 without a group in the regular expression")
    return name.text, MapLine(
        system.text, pattern, user.text, everybody=user.is_keyword("all")
    )


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers; a backslash at the end joins the next one.

    A joined line has the number of its first.
    """
    held, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first or number
        if line.endswith("\\"):
            held += line[:-1]
            continue
        yield first, held + line
        held, first = "", 0
    if held:
        yield first, held
