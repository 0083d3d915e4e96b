"""Tests of pgswitch/wire/scram.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp.core import ScramException  # type: ignore[import-untyped]
from scramp.utils import saslprep as other_saslprep  # type: ignore[import-untyped]

from pgswitch.wire.scram import prepare_password


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("pencil", b"pencil"),
        ("I\u00adX", b"IX"),
        ("\u00aa", b"a"),
        ("\u2168", b"IX"),
        ("a\u00a0b", b"a b"),
        ("a\x07b", b"a\x07b"),
        ("\u0627\u00ad1\u0628", "\u06271\u0628".encode()),
        ("\u0627\u00ad1", "\u0627\u00ad1".encode()),
        ("\u0627\u00ada\u0628", "\u0627\u00ada\u0628".encode()),
        ("\u00ad", "\u00ad".encode()),
        ("caf\udce9", b"caf\xe9"),
        ("", b""),
    ],
)
def test_prepare_password(password: str, prepared: bytes) -> None:
    """RFC 4013's examples, and raw bytes for what it prohibits."""
    assert prepare_password(password) == prepared


@settings(max_examples=300)
@given(st.text(min_size=1, max_size=6))
def test_prepare_password_against_another(password: str) -> None:
    """An independent SASLprep gives the same or refuses, where raw bytes are used."""
    raw = password.encode("utf-8", "surrogateescape")
    try:
        other = other_saslprep(password).encode() or raw
    except ScramException:
        other = raw
    assert prepare_password(password) == other
