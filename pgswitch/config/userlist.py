"""The auth file: one user and secret per line.

A line is ``"user" "secret"``, in double quotes, where ``""`` stands for one; the rest
of the line is ignored, and so are blank lines and lines that begin with ``;``. What a
secret means (plain text, md5 or SCRAM) is not this file's business.

A line that is none of these is a problem of its own: the users of all others are good.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

LONGEST_USER = 127
"""Bytes of the longest user name."""

LONGEST_SECRET = 65530
"""Bytes of the longest secret."""

_QUOTED = r'"((?:[^"]|"")*)"(?!")'
_LINE = re.compile(rf"\s*{_QUOTED}\s*{_QUOTED}.*", re.DOTALL)
_BYTE_ORDER_MARK = "\ufeff"
"""Some editors begin a file of UTF-8 with it."""

_BROKEN = (
    'broken auth file; accepted: "user" "secret" on one line with nothing but blanks'
    ' between, "" for a quote in them, no line end in them; or ; and a comment'
)


class Problem(NamedTuple):
    """A line that is refused, counted from 1, and why."""

    line: int
    text: str

    def __str__(self) -> str:
        """Return both as the log has them."""
        return f"{self.text} (line {self.line})"


class Userlist(NamedTuple):
    """The users of a file and their secrets, and what else is in it."""

    entries: dict[str, str]
    problems: list[Problem]

    @property
    def is_useless(self) -> bool:
        """Whether the file has lines of users and not one that can be read."""
        return bool(self.problems) and not self.entries


def read_userlist(path: str) -> Userlist:
    """Return what the file at ``path`` has; raises ``OSError``."""
    raw = Path(path).read_bytes()
    return parse_userlist(raw.decode("utf-8", errors="surrogateescape"))


def parse_userlist(text: str) -> Userlist:
    """Return the users of a text; the last line of a user holds."""
    entries: dict[str, str] = {}
    problems: list[Problem] = []
    lines = text.removeprefix(_BYTE_ORDER_MARK).split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            problems.append(Problem(number, _BROKEN))
            continue
        user, secret = (part.replace('""', '"') for part in found.groups())
        reason = _too_long(user, secret)
        if reason:
            problems.append(Problem(number, reason))
        else:
            entries[user] = secret
    return Userlist(entries, problems)


def _too_long(user: str, secret: str) -> str:
    if _bytes(user) > LONGEST_USER:
        return f"username too long in auth file; accepted: {LONGEST_USER} bytes"
    if _bytes(secret) > LONGEST_SECRET:
        return f"password too long in auth file; accepted: {LONGEST_SECRET} bytes"
    return ""


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))
