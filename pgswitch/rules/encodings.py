"""Decodes queries to text for the user's functions, and encodes it without loss.

The bytes are in the client's ``client_encoding`` (manual, "Character Set Support").
A byte that is invalid there becomes a lone surrogate and returns as the same byte
(PEP 383), so text that a function does not change keeps its bytes.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_ESCAPE: Final = "surrogateescape"
_UTF8: Final = "utf-8"

_MULTIBYTE: Final = {
    "BIG5": "big5",
    "EUCCN": "gb2312",
    "EUCJIS2004": "euc_jis_2004",
    "EUCJP": "euc_jp",
    "EUCKR": "euc_kr",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "JOHAB": "johab",
    "SHIFTJIS2004": "shift_jis_2004",
    "SJIS": "cp932",
    "UHC": "cp949",
}
_SINGLE_BYTE: Final = {
    "ISO88595": "iso8859_5",
    "ISO88596": "iso8859_6",
    "ISO88597": "iso8859_7",
    "ISO88598": "iso8859_8",
    "KOI8": "koi8_r",
    "KOI8R": "koi8_r",
    "KOI8U": "koi8_u",
    **{
        f"LATIN{number}": f"iso8859_{part}"
        for number, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), 1)
    },
    "WIN866": "cp866",
    "WIN874": "cp874",
    **{f"WIN{page}": f"cp{page}" for page in range(1250, 1259)},
}
_ALIASES: Final = {
    "ABC": "WIN1258",
    "ALT": "WIN866",
    "ISO88591": "LATIN1",
    "ISO88592": "LATIN2",
    "ISO885915": "LATIN9",
    "MSKANJI": "SJIS",
    "SHIFTJIS": "SJIS",
    "WIN": "WIN1251",
    "WIN932": "SJIS",
    "WIN936": "GBK",
    "WIN949": "UHC",
    "WIN950": "BIG5",
}


class Codec:
    """The codec of one ``client_encoding``."""

    def __init__(self, name: str, *, is_exact: bool = True) -> None:
        """``is_exact``: decoding and encoding always returns the same bytes."""
        self.name = name
        self.is_exact = is_exact

    def decode(self, raw: bytes) -> tuple[str, Codec]:
        """Return the text, and the codec that encodes it to the same bytes.

        Some encodings have two byte sequences for a character.  Text with such a
        character might not return to the same bytes; it is decoded as ASCII with
        escaped bytes instead.
        """
        if self.name == _UTF8:
            try:
                return raw.decode("utf-8"), self
            except UnicodeDecodeError:
                return raw.decode(_UTF8, _ESCAPE), self
        if raw.isascii():  # Python's shift_jis_2004 would change a backslash
            return raw.decode("ascii"), self
        text = raw.decode(self.name, _ESCAPE)
        if self.is_exact or text.encode(self.name, _ESCAPE) == raw:
            return text, self
        return raw.decode("ascii", _ESCAPE), ASCII

    def encode(self, text: str, original: str) -> bytes:
        """Encode a text that was made from ``original``.

        Raises UnicodeError for a character that the encoding does not have, and for
        a lone surrogate that was not in the original.
        """
        if text.isascii():
            return text.encode("ascii")
        try:
            return text.encode(self.name)
        except UnicodeEncodeError:
            if set(_SURROGATES.findall(text)) <= set(_SURROGATES.findall(original)):
                return text.encode(self.name, _ESCAPE)
            raise


UTF8: Final = Codec(_UTF8)
ASCII: Final = Codec("ascii")


def codec_of(client_encoding: str | None) -> Codec:
    """Return the codec of a ``client_encoding`` as a server reports it.

    SQL_ASCII, None and encodings that Python does not have (or may not read) are
    treated as UTF-8, which loses nothing thanks to escaped bytes.
    """
    name = re.sub("[^A-Z0-9]", "", (client_encoding or "").upper())
    name = name.replace("WINDOWS", "WIN")
    name = _ALIASES.get(name, name)
    ours = _SINGLE_BYTE.get(name) or _MULTIBYTE.get(name)
    if ours is None:
        return UTF8
    try:
        codecs.lookup(ours)
    except LookupError:
        return UTF8
    return Codec(ours, is_exact=name in _SINGLE_BYTE)


def preload_codecs() -> None:
    """Import Python's codecs for all of these encodings.

    Python would import them late, when the process may run as a user who cannot read
    the files.
    """
    for name in (*_SINGLE_BYTE.values(), *_MULTIBYTE.values()):
        codecs.lookup(name)
