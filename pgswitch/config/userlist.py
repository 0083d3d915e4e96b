"""Parses the auth file: one user and secret per line.

A line is ``"user" "secret"``, in double quotes, where ``""`` stands for one; the rest
of the line is ignored, and so are blank lines and lines that begin with ``;``. The
meaning of a secret (plain text, md5 or SCRAM) does not matter here.

Any other line is a problem of its own and does not affect the users of other lines.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MAX_USER_LENGTH = 127
"""Maximum length of a user name, in bytes."""

MAX_SECRET_LENGTH = 65530
"""Maximum length of a secret, in bytes."""

_QUOTED = r'"((?:[^"]|"")*)"(?!")'
_LINE = re.compile(rf"\s*{_QUOTED}\s*{_QUOTED}.*", re.DOTALL)
_BYTE_ORDER_MARK = "\ufeff"
"""Some editors write it at the start of a UTF-8 file."""

_ACCEPTED = (
    'accepted: "user" "secret" on one line with only spaces between them, "" for a'
    " quote inside, no line breaks inside; or ; and a comment"
)
_BROKEN = f"broken auth file; {_ACCEPTED}"
_CUT = f"broken auth file, which ends in the middle of a line; {_ACCEPTED}"


class UserlistProblem(NamedTuple):
    """A refused line, counted from 1, and the reason."""

    line: int
    text: str

    def __str__(self) -> str:
        """Return both as the log shows them."""
        return f"{self.text} (line {self.line})"


class Userlist(NamedTuple):
    """The users of a file with their secrets, and the lines that are refused."""

    entries: dict[str, str]
    problems: list[UserlistProblem]

    def __repr__(self) -> str:
        """Return the number of users, and no secrets."""
        return f"Userlist({len(self.entries)} users, {self.problems})"

    @property
    def is_useless(self) -> bool:
        """Whether none of the file's user lines can be read."""
        return bool(self.problems) and not self.entries

    @property
    def is_cut(self) -> bool:
        """Whether it ends in the middle of a user's line.

        It is still being written, or was written only in part: users may be missing.
        """
        return bool(self.problems) and self.problems[-1].text == _CUT


def read_userlist(path: str) -> Userlist:
    """Parse the file at ``path``; raises ``OSError``."""
    raw = Path(path).read_bytes()
    return parse_userlist(raw.decode("utf-8", errors="surrogateescape"))


def parse_userlist(text: str) -> Userlist:
    """Parse the text of a file; a user's last line wins."""
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
    """Return whether an unreadable line is the start of a readable one."""
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
