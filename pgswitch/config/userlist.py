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

MAX_USER_LENGTH = 127
"""Bytes of the longest user name."""

MAX_SECRET_LENGTH = 65530
"""Bytes of the longest secret."""

_QUOTED = r'"((?:[^"]|"")*)"(?!")'
_LINE = re.compile(rf"\s*{_QUOTED}\s*{_QUOTED}.*", re.DOTALL)
_BYTE_ORDER_MARK = "\ufeff"
"""Some editors begin a file of UTF-8 with it."""

_ACCEPTED = (
    'accepted: "user" "secret" on one line with nothing but blanks between, "" for a'
    " quote in them, no line end in them; or ; and a comment"
)
_BROKEN = f"broken auth file; {_ACCEPTED}"
_CUT = f"broken auth file, which ends in the midst of a line; {_ACCEPTED}"


class UserlistProblem(NamedTuple):
    """A line that is refused, counted from 1, and why."""

    line: int
    text: str

    def __str__(self) -> str:
        """Return both as the log has them."""
        return f"{self.text} (line {self.line})"


class Userlist(NamedTuple):
    """The users of a file and their secrets, and what else is in it."""

    entries: dict[str, str]
    problems: list[UserlistProblem]

    def __repr__(self) -> str:
        """Tell how many there are, and no secrets."""
        return f"Userlist({len(self.entries)} users, {self.problems})"

    @property
    def is_useless(self) -> bool:
        """Whether the file has lines of users and not one that can be read."""
        return bool(self.problems) and not self.entries

    @property
    def is_cut(self) -> bool:
        """Whether it ends in the midst of a user's line.

        It is still being written, or was written in part: nobody knows who else was to
        be in it.
        """
        return bool(self.problems) and self.problems[-1].text == _CUT


def read_userlist(path: str) -> Userlist:
    """Return what the file at ``path`` has; raises ``OSError``."""
    raw = Path(path).read_bytes()
    return parse_userlist(raw.decode("utf-8", errors="surrogateescape"))


def parse_userlist(text: str) -> Userlist:
    """Return the users of a text; the last line of a user holds."""
    entries: dict[str, str] = {}
    problems: list[UserlistProblem] = []
    lines = text.removeprefix(_BYTE_ORDER_MARK).split("\n")
    last = text.rstrip().count("\n") + 1
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            has_end = number < len(lines)
            is_cut = number == last and _is_beginning(line, has_end=has_end)
            problems.append(UserlistProblem(number, _CUT if is_cut else _BROKEN))
            continue
        user, secret = (part.replace('""', '"') for part in found.groups())
        reason = _too_long(user, secret)
        if reason:
            problems.append(UserlistProblem(number, reason))
        else:
            entries[user] = secret
    return Userlist(entries, problems)


def _is_beginning(line: str, *, has_end: bool) -> bool:
    """Tell whether a line that cannot be read is the beginning of one that could."""
    is_open = line.count('"') % 2 == 1
    return line.lstrip().startswith('"') and (is_open or not has_end)


def _too_long(user: str, secret: str) -> str:
    if _bytes(user) > MAX_USER_LENGTH:
        return f"username too long in auth file; accepted: {MAX_USER_LENGTH} bytes"
    if _bytes(secret) > MAX_SECRET_LENGTH:
        return f"password too long in auth file; accepted: {MAX_SECRET_LENGTH} bytes"
    return ""


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))
