"""Values as a server spells them; what is expected was seen at PostgreSQL 15 and 18."""

from __future__ import annotations

import pytest

from pgswitch.wire import spelling

ODD = "\udcff\udcfe"
"""Two bytes that are no UTF-8."""


@pytest.mark.parametrize(
    ("given", "since_16", "before"),
    [
        ("", "", ""),
        ("it's a\\b ~", "it's a\\b ~", "it's a\\b ~"),
        ("x" * 63, "x" * 63, "x" * 63),
        ("x" * 200, "x" * 63, "x" * 63),
        ("café", "caf\\xc3\\xa9", "caf??"),
        (ODD, "\\xff\\xfe", "??"),
        ("a\tb\x7f", "a\\x09b\\x7f", "a?b?"),
        ("x" * 62 + "é", "x" * 62, "x" * 62),
        ("x" * 60 + "€", "x" * 60 + "\\xe", "x" * 60 + "???"),
        ("x" * 61 + "€", "x" * 61, "x" * 61),
        ("x" * 60 + "😀", "x" * 60, "x" * 60),
        ("x" * 62 + ODD, "x" * 62 + "\\", "x" * 62 + "?"),
        ("é" * 40, ("\\xc3\\xa9" * 31)[:63], "?" * 62),
    ],
)
def test_application_name(given: str, since_16: str, before: str) -> None:
    """Cut without half a character, then made ASCII, then cut as a SET would."""
    for version in ("18.6", "16beta1", "", "devel"):
        assert spelling.application_name(given, version) == since_16
    for version in ("15.18 (Debian 15.18-0+deb12u1)", "9.6.24"):
        assert spelling.application_name(given, version) == before
    # What has been through it once may be set, and comes back the same.
    assert spelling.application_name(since_16, "18.6") == since_16


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("iso, mdy", "ISO, MDY"),
        ("ISO", "ISO, YMD"),
        ("", "SQL, YMD"),
        ("dmy", "SQL, DMY"),
        ("euro", "SQL, DMY"),
        ("us", "SQL, MDY"),
        ("noneuropean", "SQL, MDY"),
        ("german", "German, DMY"),
        ("german, mdy", "German, MDY"),
        ("mdy,german", "German, MDY"),
        ("german, default", "German, YMD"),
        ("default", "SQL, YMD"),
        ("iso, default", "ISO, YMD"),
        ('"iso"', "ISO, YMD"),
        ("postgresql", "Postgres, YMD"),
        ("iso,iso", "ISO, YMD"),
        ("xx", "xx"),
        ("iso,,mdy", "iso,,mdy"),
        ("iso, sql", "iso, sql"),
        ("sqlx", "sqlx"),
        ("mdy, dmy", "mdy, dmy"),
    ],
)
def test_date_style(given: str, expected: str) -> None:
    """Both halves; what a server would refuse is left to it."""
    assert spelling.date_style(given, "SQL, YMD") == expected


def test_date_style_without_a_default() -> None:
    """Nothing is known of the server, so nothing is made up."""
    assert spelling.date_style("iso", "") == "iso"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("utf8", "UTF8"),
        ("UTF-8", "UTF8"),
        ("unicode", "UTF8"),
        ("latin1", "LATIN1"),
        ("LATIN1 ", "LATIN1"),
        ("iso-8859-1", "LATIN1"),
        ("iso8859_15", "LATIN9"),
        ("ISO_8859_5", "ISO_8859_5"),
        ("euc-jp", "EUC_JP"),
        ("Windows-1252", "WIN1252"),
        ("windows932", "SJIS"),
        ("shift_jis", "SJIS"),
        ("koi8", "KOI8R"),
        ("sql_ascii", "SQL_ASCII"),
        ("xx", "xx"),
        ("", ""),
        ("utf\uff18", "utf\uff18"),
    ],
)
def test_client_encoding(given: str, expected: str) -> None:
    """The server's own name; an unknown one is left to it."""
    assert spelling.client_encoding(given) == expected


@pytest.mark.parametrize(
    ("value", "present", "wanted", "expected"),
    [
        ("plain", "UTF8", "LATIN1", "plain"),
        ("sché", "UTF8", "LATIN1", "sch\udce9"),
        ("sch\udce9", "LATIN1", "UTF8", "sché"),
        ("sché", "UTF8", "UTF8", "sché"),
        ("ツ", "UTF8", "LATIN1", "ツ"),
        ("sché", "SQL_ASCII", "LATIN1", "sché"),
        ("sch\udce9", "UTF8", "LATIN1", "sch\udce9"),
    ],
)
def test_recoded(value: str, present: str, wanted: str, expected: str) -> None:
    """Where both encodings are known and have the value."""
    assert spelling.recoded(value, present, wanted) == expected


def test_codecs_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that there are can be had; a value is left as it is where one cannot."""
    spelling.preload_codecs()
    monkeypatch.setitem(spelling._CODECS, "LATIN1", "nowhere")
    assert spelling.recoded("é", "UTF8", "LATIN1") == "é"
