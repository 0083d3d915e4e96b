"""Tests of pgswitch/wire/decode.py."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.errors import ProtocolViolation
from pgswitch.wire import decode, encode

TYPED = 5
"""Type byte and length in front of a body."""

GOOD: list[tuple[Callable[[bytes], object], bytes, object]] = [
    (
        decode.error_fields,
        b"SFATAL\0C57P01\0Mbye\0\0",
        {"S": "FATAL", "C": "57P01", "M": "bye"},
    ),
    (decode.error_fields, b"Ma\0Mb\0\0", {"M": "a"}),
    (decode.error_fields, b"\0", {}),
    (decode.parameter_status, b"TimeZone\0UTC\0", (b"TimeZone", b"UTC")),
    (decode.parameter_status, b"a\0\0", (b"a", b"")),
    (decode.column_count, b"\0\2a\0", 2),
    (decode.column_names, b"\0\0", ()),
    (decode.column_names, b"\0\1a\0" + bytes(18), ("a",)),
    (decode.data_row, b"\0\0", []),
    (decode.data_row, b"\0\2\xff\xff\xff\xff\0\0\0\3abc", [None, b"abc"]),
    (decode.text_row, encode.data_row([None, "", "é"])[5:], [None, "", "é"]),
    (decode.query, b"SELECT 1\0", b"SELECT 1"),
    (decode.query, b"\0", b""),
    (decode.parse, b"s\0SELECT\0\0\0", (b"s", b"SELECT", (), b"SELECT\0\0\0")),
    (
        decode.parse,
        b"\0x\0\0\x01\0\0\0\x17",
        (b"", b"x", (23,), b"x\0\0\x01\0\0\0\x17"),
    ),
    (decode.bind_prefix, b"p\0s\0\0\0", (b"p", b"s", 4)),
    (decode.describe, b"Ss\0", (ord("S"), b"s")),
    (decode.close, b"P\0", (ord("P"), b"")),
    (decode.backend_key_data, b"12345678", b"12345678"),
    (decode.backend_key_data, b"1" * 260, b"1" * 260),
    (decode.ready_status, b"T", ord("T")),
    (decode.authentication, b"\0\0\0\x05salt", (5, b"salt")),
    (decode.sasl_mechanisms, b"A\0B\0\0", ["A", "B"]),
    (
        decode.negotiate_protocol_version,
        b"\0\3\0\0\0\0\0\1_pq_.x\0",
        (196608, ("_pq_.x",)),
    ),
    (decode.password, b"pw\0", b"pw"),
    (decode.sasl_initial_response, b"A\0\0\0\0\3n,,", ("A", b"n,,")),
    (decode.sasl_initial_response, b"A\0\xff\xff\xff\xff", ("A", b"")),
    (decode.sasl_initial_response, b"A\0\0\0\0\0", ("A", b"")),
]

BAD: list[tuple[Callable[[bytes], object], bytes, str]] = [
    (decode.column_count, b"\0", "broken RowDescription packet"),
    (decode.column_names, b"\0\1a\0" + bytes(17), "RowDescription"),
    (decode.column_names, b"\0\1a\0" + bytes(19), "RowDescription"),
    (decode.data_row, b"", "broken DataRow packet"),
    (decode.data_row, b"\0\1", "broken DataRow packet"),
    (decode.data_row, b"\0\1\0\0\0\3ab", "broken DataRow packet"),
    (decode.data_row, b"\0\1\x7f\xff\xff\xffab", "broken DataRow packet"),
    (decode.data_row, b"\0\0x", "broken DataRow packet"),
    (decode.error_fields, b"", "broken ErrorResponse packet"),
    (decode.error_fields, b"Mbye", "broken ErrorResponse packet"),
    (decode.error_fields, b"Mbye\0", "broken ErrorResponse packet"),
    (decode.error_fields, b"Mbye\0\0x", "broken ErrorResponse packet"),
    (decode.parameter_status, b"a\0b", "broken ParameterStatus packet"),
    (decode.parameter_status, b"a\0b\0c", "broken ParameterStatus packet"),
    (decode.query, b"", "incomplete query"),
    (decode.query, b"SELECT 1", "incomplete query"),
    (decode.query, b"SELECT\0 1\0", "incomplete query"),
    (decode.parse, b"s\0", "broken Parse packet"),
    (decode.parse, b"s\0SELECT\0\0", "broken Parse packet"),
    (decode.parse, b"s\0SELECT\0\0\1", "broken Parse packet"),
    (decode.parse, b"s\0SELECT\0\0\0x", "broken Parse packet"),
    (decode.bind_prefix, b"p\0s", "broken Bind packet"),
    (decode.describe, b"", "broken Describe packet"),
    (decode.describe, b"Xs\0", "broken Describe packet"),
    (decode.describe, b"Ss", "broken Describe packet"),
    (decode.close, b"Ss\0x", "broken Close packet"),
    (decode.backend_key_data, b"1234567", "broken BackendKeyData packet"),
    (decode.backend_key_data, b"1" * 261, "broken BackendKeyData packet"),
    (decode.ready_status, b"", "broken ReadyForQuery packet"),
    (decode.ready_status, b"II", "broken ReadyForQuery packet"),
    (decode.authentication, b"\0\0\0", "broken Authentication packet"),
    (decode.sasl_mechanisms, b"A\0", "broken Authentication packet"),
    (decode.negotiate_protocol_version, b"\0\3\0\0\xff\xff\xff\xff", "broken Neg"),
    (decode.password, b"pw", "broken PasswordMessage packet"),
    (decode.password, b"pw\0x", "broken PasswordMessage packet"),
    (decode.sasl_initial_response, b"A\0\0\0\0\4n,,", "broken SASLInitialResponse"),
    (decode.sasl_initial_response, b"A\0\xff\xff\xff\xffn", "broken SASLInitial"),
]

READERS = sorted({reader for reader, _, _ in GOOD}, key=lambda f: f.__name__)


@pytest.mark.parametrize(("reader", "body", "expected"), GOOD)
def test_good_bodies(
    reader: Callable[[bytes], object], body: bytes, expected: object
) -> None:
    """Bodies with the manual's layout give their fields."""
    assert reader(body) == expected


@pytest.mark.parametrize(("reader", "body", "text"), BAD)
def test_broken_bodies(
    reader: Callable[[bytes], object], body: bytes, text: str
) -> None:
    """Bodies without it are a violation, named by the message."""
    with pytest.raises(ProtocolViolation, match=text):
        reader(body)


@given(reader=st.sampled_from(READERS), body=st.binary(max_size=40))
def test_only_violations_escape(reader: Callable[[bytes], object], body: bytes) -> None:
    """Whatever the bytes, a value or a ProtocolViolation comes out."""
    with suppress(ProtocolViolation):
        reader(body)


raw = st.binary(max_size=20).filter(lambda b: 0 not in b)


@given(name=raw, sql=raw, oids=st.lists(st.integers(0, 2**32 - 1), max_size=5))
def test_parse_round_trip(name: bytes, sql: bytes, oids: list[int]) -> None:
    """What is encoded as Parse is decoded as it was, bytes that are no text too."""
    found = decode.parse(encode.parse(name, sql, oids)[TYPED:])
    assert found[:3] == (name, sql, tuple(oids))
    assert encode.parse(found.name, found.sql, found.oids)[TYPED:].endswith(found.rest)


@given(name=raw, value=raw)
def test_text_round_trip(name: bytes, value: bytes) -> None:
    """Text made from any bytes turns into the same bytes again."""
    message = encode.parameter_status(decode.text(name), decode.text(value))
    assert decode.parameter_status(message[TYPED:]) == (name, value)
