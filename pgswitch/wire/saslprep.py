"""SASLprep (RFC 4013): one form for passwords that look the same, before SCRAM.

As in libpq, a password that it refuses is used as its raw bytes.
"""

from __future__ import annotations

import stringprep
import unicodedata
from typing import Final

_PROHIBITED: Final = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)
"""What RFC 4013, sections 2.3 and 2.5, allows nowhere in a password."""


def prepare_password(password: str) -> bytes:
    """Return the password as SCRAM uses it: after SASLprep, else its raw bytes.

    Bytes that are no UTF-8 (surrogate escapes in the text) stay as they are.
    """
    raw = password.encode("utf-8", "surrogateescape")
    if password.isascii() and password.isprintable():
        return raw
    prepared = _saslprep(password)
    return raw if prepared is None else prepared.encode()


def _saslprep(password: str) -> str | None:
    """Return the text after RFC 4013, None if it prohibits it or leaves nothing."""
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    text = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not text:
        return None
    if any(is_in(character) for character in text for is_in in _PROHIBITED):
        return None
    if any(map(stringprep.in_table_d1, text)):  # RFC 3454, section 6: right to left
        if any(map(stringprep.in_table_d2, text)):
            return None
        if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
            return None
    return text
