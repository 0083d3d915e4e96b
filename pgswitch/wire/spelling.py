"""Values of parameters as a server spells them that is given them at a login.

A server takes ``iso`` for DateStyle and reports ``ISO, MDY``.  A client is told the
same here before any server was asked, and what is compared and set later is whole:
half a DateStyle would leave the other half to whoever had the server before.  What is
not understood is returned as it is, for the server to refuse.

What servers report was compared with PostgreSQL 15 and 18.
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from typing import Final

NAME_LIMIT: Final = 63
"""Bytes of the longest name a server keeps, NAMEDATALEN - 1."""

_ESCAPING_SINCE: Final = 16
"""The major version from which a byte that is no printable ASCII is an escape."""
_PRINTABLE_FROM: Final = 32
_PRINTABLE_TO: Final = 126

_LONG: Final = ((2, 0xC0, 0xE0), (3, 0xE0, 0xF0), (4, 0xF0, 0xF8))
"""Bytes of a character of UTF-8, and between which values its first one is."""

_MAJOR: Final = re.compile(r"\d+")

_ENCODINGS: Final = {
    **{
        name.replace("_", "").lower(): name
        for name in (
            *(
                "BIG5",
                "EUC_CN",
                "EUC_JIS_2004",
                "EUC_JP",
                "EUC_KR",
                "EUC_TW",
                "GB18030",
            ),
            *("GBK", "ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8", "JOHAB"),
            *("KOI8R", "KOI8U", "MULE_INTERNAL", "SHIFT_JIS_2004", "SJIS", "SQL_ASCII"),
            *("UHC", "UTF8", "WIN866", "WIN874"),
            *(f"LATIN{number}" for number in range(1, 11)),
            *(f"WIN{page}" for page in range(1250, 1259)),
        )
    },
    **{
        f"iso8859{part}": f"LATIN{number}"
        for number, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), 1)
    },
    **{f"windows{page}": f"WIN{page}" for page in (866, 874, *range(1250, 1259))},
    **{
        f"{vendor}{page}": name
        for vendor in ("win", "windows")
        for page, name in ((932, "SJIS"), (936, "GBK"), (949, "UHC"), (950, "BIG5"))
    },
    **dict.fromkeys(("abc", "tcvn", "tcvn5712", "vscii"), "WIN1258"),
    **dict.fromkeys(("mskanji", "shiftjis"), "SJIS"),
    "alt": "WIN866",
    "koi8": "KOI8R",
    "unicode": "UTF8",
    "win": "WIN1251",
}
"""By their names without what a server looks over (manual, "Character Set Support")."""

_CODECS: Final = {
    **{name: name.lower() for name in ("BIG5", "EUC_JP", "EUC_KR", "GB18030", "GBK")},
    **{f"ISO_8859_{part}": f"iso8859_{part}" for part in (5, 6, 7, 8)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, *range(1250, 1259))},
    **{
        f"LATIN{number}": f"iso8859_{part}"
        for number, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), 1)
    },
    "EUC_CN": "gb2312",
    "KOI8R": "koi8_r",
    "KOI8U": "koi8_u",
    "SJIS": "cp932",
    "UHC": "cp949",
    "UTF8": "utf-8",
    # Built in, under this name.
    "LATIN1": "latin-1",
}
"""What Python calls them."""


def application_name(value: str, server_version: str) -> str:
    r"""Return a name as a server keeps it: printable ASCII, and not too long.

    Since PostgreSQL 16 other bytes become ``\xNN``, before they became ``?``.  A
    server cuts before it replaces; we cut once more, as it does when the result is set.
    """
    if value.isascii() and value.isprintable() and len(value) <= NAME_LIMIT:
        return value
    found = _MAJOR.match(server_version)
    is_escaping = found is None or int(found[0]) >= _ESCAPING_SINCE
    cleaned = "".join(
        chr(byte)
        if _PRINTABLE_FROM <= byte <= _PRINTABLE_TO
        else f"\\x{byte:02x}"
        if is_escaping
        else "?"
        for byte in _cut(value.encode("utf-8", "surrogateescape"))
    )
    return cleaned[:NAME_LIMIT]


def _cut(raw: bytes) -> bytes:
    """Return the first bytes, as many as a name may have, without half a character."""
    if len(raw) <= NAME_LIMIT:
        return raw
    end = at = 0
    while at <= NAME_LIMIT:
        end = at
        # As a server counts, which does not look at the bytes that follow.
        at += next((size for size, low, high in _LONG if low <= raw[at] < high), 1)
    return raw[:end]


def date_style(value: str, default: str) -> str:
    """Return a DateStyle with both its halves, what is not said from ``default``."""
    default_style, comma, default_order = default.partition(", ")
    if not comma:
        return value
    style = order = implied = ""
    for token in value.split(",") if value.strip() else ():
        word = token.strip().upper()
        if word[:1] == word[-1:] == '"':
            word = word[1:-1]
        new_style, new_order = _style_of(word), _order_of(word)
        is_known = new_style or new_order or word == "DEFAULT"
        if not is_known or _clash(style, new_style) or _clash(order, new_order):
            return value
        style = style or new_style
        order = order or new_order
        if new_style == "German":
            implied = "DMY"
        elif word == "DEFAULT":
            implied = ""
    return f"{style or default_style}, {order or implied or default_order}"


def _clash(before: str, new: str) -> bool:
    return bool(before and new and before != new)


def _style_of(word: str) -> str:
    if word.startswith("POSTGRES"):
        return "Postgres"
    return {"ISO": "ISO", "SQL": "SQL", "GERMAN": "German"}.get(word, "")


def _order_of(word: str) -> str:
    if word in ("YMD", "DMY", "MDY"):
        return word
    if word.startswith("EURO"):
        return "DMY"
    return "MDY" if word == "US" or word.startswith("NONEURO") else ""


def client_encoding(value: str) -> str:
    """Return the server's name of an encoding."""
    word = "".join(one for one in value.lower() if one.isascii() and one.isalnum())
    return _ENCODINGS.get(word, value)


def recoded(value: str, present: str, wanted: str) -> str:
    """Return a value in another encoding; as it is if it has no form there.

    ``present`` and ``wanted`` are encodings by the server's names.
    """
    old, new = _CODECS.get(present), _CODECS.get(wanted)
    if value.isascii() or old is None or new is None or old == new:
        return value
    try:
        text = value.encode("utf-8", "surrogateescape").decode(old)
        return text.encode(new).decode("utf-8", "surrogateescape")
    except (UnicodeError, LookupError):
        return value


def preload_codecs() -> None:
    """Have Python read what it needs for all of these encodings.

    It does so late, when the process may have become a user that cannot read it.
    """
    for name in _CODECS.values():
        with suppress(LookupError):
            codecs.lookup(name)
