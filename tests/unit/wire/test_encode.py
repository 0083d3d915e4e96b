"""Tests of pgswitch/wire/encode.py."""

import pytest

from pgswitch import errors
from pgswitch.wire import encode

MESSAGES = [
    (encode.auth_ok(), b"R\0\0\0\x08\0\0\0\0"),
    (encode.auth_cleartext(), b"R\0\0\0\x08\0\0\0\x03"),
    (encode.auth_md5(b"c#\xe2r"), b"R\0\0\0\x0c\0\0\0\x05c#\xe2r"),
    (encode.auth_sasl(), b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
    (encode.auth_sasl(["A", "B"]), b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0"),
    (encode.auth_sasl_continue(b"r=1"), b"R\0\0\0\x0b\0\0\0\x0br=1"),
    (encode.auth_sasl_final(b"v=1"), b"R\0\0\0\x0b\0\0\0\x0cv=1"),
    (encode.parameter_status("a", "b"), b"S\0\0\0\x08a\0b\0"),
    (encode.parameter_status(b"a", b"\xff"), b"S\0\0\0\x08a\0\xff\0"),
    (encode.backend_key_data(b"12345678"), b"K\0\0\0\x0c12345678"),
    (
        encode.negotiate_protocol_version(196608, ["_pq_.x"]),
        b"v\x00\x00\x00\x13\x00\x03\x00\x00\x00\x00\x00\x01_pq_.x\x00",
    ),
    (encode.ready_for_query(), b"Z\0\0\0\x05I"),
    (encode.ready_for_query(b"T"), b"Z\0\0\0\x05T"),
    (encode.command_complete("SHOW"), b"C\0\0\0\x09SHOW\0"),
    (encode.empty_query_response(), b"I\0\0\0\x04"),
    (encode.parse_complete(), b"1\0\0\0\x04"),
    (encode.close_complete(), b"3\0\0\0\x04"),
    (
        encode.row_description([("version", 25, -1), ("n", 23, 4)]),
        (
            b"T\0\0\0\x34\0\x02"
            b"version\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
            b"n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0"
        ),
    ),
    (
        encode.data_row(["a", None, b"", "\udcff"]),
        b"D\0\0\0\x18\0\x04\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0\0\0\0\x01\xff",
    ),
    (encode.query("SELECT 1"), b"Q\0\0\0\x0dSELECT 1\0"),
    (encode.parse("s", "SELECT"), b"P\0\0\0\x0fs\0SELECT\0\0\0"),
    (encode.parse("", "x", [23]), b"P\0\0\0\x0d\0x\0\0\x01\0\0\0\x17"),
    (
        encode.bind("", "", ["bob", None]),
        b"B\0\0\0\x17\0\0\0\0\0\x02\0\0\0\x03bob\xff\xff\xff\xff\0\0",
    ),
    (encode.describe_portal(), b"D\0\0\0\x06P\0"),
    (encode.execute(), b"E\0\0\0\x09\0\0\0\0\0"),
    (encode.sync(), b"S\0\0\0\x04"),
    (encode.terminate(), b"X\0\0\0\x04"),
    (encode.password(b"pw"), b"p\0\0\0\x07pw\0"),
    (
        encode.sasl_initial_response("SCRAM-SHA-256", b"n,,"),
        b"p\0\0\0\x19SCRAM-SHA-256\0\0\0\0\x03n,,",
    ),
    (encode.sasl_response(b"c=biws"), b"p\0\0\0\x0ac=biws"),
    (
        encode.startup({"user": "bob"}),
        b"\0\0\0\x12\0\3\0\0user\0bob\0\0",
    ),
    (encode.startup([("a", "b")]), b"\0\0\0\x0d\0\3\0\0a\0b\0\0"),
    (encode.startup_3_2({}), b"\0\0\0\x09\0\3\0\2\0"),
    (encode.cancel_request(b"12345678"), b"\0\0\0\x10\x04\xd2\x16\x2e12345678"),
    (encode.ssl_request(), b"\0\0\0\x08\x04\xd2\x16\x2f"),
]


@pytest.mark.parametrize(("made", "expected"), MESSAGES)
def test_messages_have_the_manuals_layout(made: bytes, expected: bytes) -> None:
    """Each message is, byte for byte, what the manual describes."""
    assert made == expected


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            errors.PasswordFailed(),
            b"E\0\0\0\x33SFATAL\0C08P01\0Mpassword authentication failed\0\0",
        ),
        (
            errors.SetFailed(detail="why", hint="do"),
            b"E\0\0\0\x28SERROR\0C08P01\0MSET failed\0Dwhy\0Hdo\0\0",
        ),
        (errors.Fault(detail="a\0b"), b"E\0\0\0\x19SFATAL\0C08P01\0M\0Dab\0\0"),
        (errors.SilentClose("unexpected eof"), b""),
    ],
)
def test_error_response(fault: errors.Fault, expected: bytes) -> None:
    """Fields are S, C, M, then D and H if there are any; silence stays silent."""
    assert encode.error_response(fault) == expected


def test_notice_response() -> None:
    """A notice has the same fields under another type."""
    made = encode.notice_response(errors.SetIgnored())
    assert made == b"N\0\0\0\x21SNOTICE\0C00000\0MSET ignored\0\0"


@pytest.mark.parametrize(
    "make",
    [
        lambda: encode.query("SELECT 1\0DROP"),
        lambda: encode.parameter_status("a\0b", "c"),
        lambda: encode.startup({"user": "a\0database\0b"}),
        lambda: encode.password(b"a\0b"),
        lambda: encode.auth_md5(b"123"),
    ],
)
def test_zero_bytes_cannot_smuggle_fields(make: object) -> None:
    """A text with a zero byte, or a salt of the wrong size, is refused."""
    assert callable(make)
    with pytest.raises(ValueError, match=r"zero byte|four bytes"):
        make()
