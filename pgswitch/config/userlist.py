"""The auth file: one user and secret per line.

A line is ``"user" "secret"``, in double quotes, where ``""`` stands for one; the rest
of the line is ignored, and so are blank lines and lines that begin with ``;``. What a
secret means (plain text, md5 or SCRAM) is not this file's business.
"""

from __future__ import annotations

import re

LONGEST_USER = 127
"""Bytes of the longest user name."""

LONGEST_SECRET = 65530
"""Bytes of the longest secret."""

_QUOTED = r'"((?:[^"]|"")*)"(?!")'
_LINE = re.compile(rf"\s*{_QUOTED}\s*{_QUOTED}.*")


class UserlistError(Exception):
    """A line of the auth file is refused.

    ``line`` counts from 1, ``text`` is the reason, and ``entries`` are the users of the
    lines before it, which stay valid.
    """

    def __init__(self, text: str, line: int, entries: dict[str, str]) -> None:
        super().__init__(f"{text} (line {line})")
        self.text = text
        self.line = line
        self.entries = entries


def parse_userlist(text: str) -> dict[str, str]:
    """Return user → secret; the last line of a user holds. Raises ``UserlistError``."""
    entries: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith(";"):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            reason = 'broken auth file; accepted: "user" "secret", or ; and a comment'
            raise UserlistError(reason, number, entries)
        user, secret = (part.replace('""', '"') for part in found.groups())
        if _bytes(user) > LONGEST_USER:
            reason = f"username too long in auth file; accepted: {LONGEST_USER} bytes"
            raise UserlistError(reason, number, entries)
        if _bytes(secret) > LONGEST_SECRET:
            reason = f"password too long in auth file; accepted: {LONGEST_SECRET} bytes"
            raise UserlistError(reason, number, entries)
        entries[user] = secret
    return entries


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))
