"""Bytes to text and back, in any client encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.rules.encodings import ASCII, UTF8, codec_of, preload_codecs

NAMES = (
    *("UTF8", "LATIN1", "WIN1252", "SJIS", "SHIFT_JIS_2004", "GBK", "EUC_JP", "EUC_KR"),
    *("BIG5", "SQL_ASCII"),
)


@pytest.mark.parametrize(
    ("client_encoding", "name"),
    [
        ("UTF8", "utf-8"),
        ("UTF-8", "utf-8"),
        ("LATIN1", "iso8859_1"),
        ("latin9", "iso8859_15"),
        ("ISO-8859-1", "iso8859_1"),
        ("WIN1251", "cp1251"),
        ("windows-1252", "cp1252"),
        ("KOI8R", "koi8_r"),
        ("SHIFT_JIS_2004", "shift_jis_2004"),
        ("EUC_KR", "euc_kr"),
        ("MULE_INTERNAL", "utf-8"),
        ("SQL_ASCII", "utf-8"),
        ("", "utf-8"),
        (None, "utf-8"),
    ],
)
def test_names(client_encoding: str | None, name: str) -> None:
    """PostgreSQL's names, as servers report them and as people write them."""
    assert codec_of(client_encoding).name == name


def test_an_encoding_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file may not be readable any more; no byte is lost all the same."""

    def lookup(name: str) -> None:
        raise LookupError(name)

    preload_codecs()
    monkeypatch.setattr("codecs.lookup", lookup)
    assert codec_of("EUC_KR") is UTF8


@given(st.sampled_from(NAMES), st.binary(max_size=30))
def test_nothing_is_lost(name: str, raw: bytes) -> None:
    """Any bytes at all come back as they were."""
    text, codec = codec_of(name).decode(raw)
    assert codec.encode(text, text) == raw


def test_text() -> None:
    """Functions see characters, and may give others."""
    text, codec = codec_of("LATIN1").decode(b"SELECT '\xe9'")
    assert text == "SELECT 'é'"
    assert codec.encode("SELECT 'è'", text) == b"SELECT '\xe8'"


def test_two_spellings_of_a_character() -> None:
    """Where one would come back as the other, the bytes are kept as unknown."""
    raw = b"'\xee\xf9'"
    text, codec = codec_of("SJIS").decode(raw)
    assert codec is ASCII
    assert codec.encode(text + " -- x", text) == raw + b" -- x"


@pytest.mark.parametrize("name", NAMES)
def test_ascii(name: str) -> None:
    """It is the same in every encoding, the backslash of SHIFT_JIS_2004 too."""
    raw = bytes(range(1, 128))
    text, codec = codec_of(name).decode(raw)
    assert text.encode("ascii") == raw
    assert codec.encode(text[::-1], text) == raw[::-1]


@pytest.mark.parametrize(
    ("codec", "text", "original"),
    [
        (codec_of("LATIN1"), "\u4e00", ""),
        (UTF8, "\ud800", ""),
        (UTF8, "\udc80", "plain"),
        (UTF8, "\udc80\udc81", "\udc80"),
    ],
)
def test_what_cannot_be_encoded(codec: object, text: str, original: str) -> None:
    """Characters that the encoding lacks, surrogates that were not there before."""
    with pytest.raises(UnicodeError):
        codec.encode(text, original)  # type: ignore[attr-defined]
