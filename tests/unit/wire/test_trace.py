"""Tests of pgswitch/wire/trace.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch import errors
from pgswitch.wire import constants as c
from pgswitch.wire import encode
from pgswitch.wire.trace import trace_line
from tests.fakes.messages import close_statement


def trace(direction: str, raw: bytes) -> str:
    """Return the line of a whole message."""
    return trace_line(direction, raw[0], int.from_bytes(raw[1:5]), raw[5:])


LINES = [
    ("F", encode.query("SELECT 1"), 'F\t13\tQuery\t "SELECT 1"'),
    ("F", encode.query("a\nb"), 'F\t8\tQuery\t "a\\nb"'),
    ("F", encode.parse("s", "x", [23]), 'F\t14\tParse\t "s" "x" 1 23'),
    (
        "F",
        encode.bind("", "s", ["1", None]),
        'F\t22\tBind\t "" "s" 0 2 1 \'1\' -1 0',
    ),
    ("F", encode.describe_portal(), 'F\t6\tDescribe\t P ""'),
    ("F", close_statement("s"), 'F\t7\tClose\t S "s"'),
    ("F", encode.execute(), 'F\t9\tExecute\t "" 0'),
    ("F", encode.sync(), "F\t4\tSync"),
    ("F", encode.terminate(), "F\t4\tTerminate"),
    ("F", encode.message(c.COPY_DATA, b"a\tb"), "F\t7\tCopyData\t 'a\\tb'"),
    ("F", encode.message(c.COPY_FAIL, b"no\0"), 'F\t7\tCopyFail\t "no"'),
    ("F", encode.message(c.COPY_DONE), "F\t4\tCopyDone"),
    ("B", encode.ready_for_query(), "B\t5\tReadyForQuery\t I"),
    ("B", encode.parameter_status("a", "b"), 'B\t8\tParameterStatus\t "a" "b"'),
    ("B", encode.command_complete("SHOW"), 'B\t9\tCommandComplete\t "SHOW"'),
    ("B", encode.data_row(["1", None]), "B\t15\tDataRow\t 2 1 '1' -1"),
    (
        "B",
        encode.row_description([("n", 23, 4)]),
        'B\t26\tRowDescription\t 1 "n" 0 0 23 4 -1 0',
    ),
    (
        "B",
        encode.error_response(errors.SetFailed()),
        'B\t31\tErrorResponse\t S "ERROR" C "08P01" M "SET failed"',
    ),
    (
        "B",
        encode.negotiate_protocol_version(196608, ["_pq_.x"]),
        'B\t19\tNegotiateProtocolVersion\t 196608 1 "_pq_.x"',
    ),
    ("B", encode.parse_complete(), "B\t4\tParseComplete"),
    (
        "B",
        encode.message(c.COPY_IN_RESPONSE, b"\0\0\1\0\0"),
        "B\t9\tCopyInResponse\t 0 1 0",
    ),
    (
        "B",
        encode.message(c.NOTIFICATION_RESPONSE, b"\0\0\0\7ch\0pay\0"),
        'B\t15\tNotificationResponse\t 7 "ch" "pay"',
    ),
    (
        "B",
        encode.message(c.PARAMETER_DESCRIPTION, b"\0\1\0\0\0\x17"),
        "B\t10\tParameterDescription\t 1 23",
    ),
    ("B", encode.auth_ok(), "B\t8\tAuthentication\t 0"),
    ("B", encode.auth_sasl(), 'B\t23\tAuthentication\t 10 "SCRAM-SHA-256"'),
    ("F", b"!\0\0\0\4", "F\t4\tUnknown message: 21"),
    ("B", encode.query("x"), "B\t6\tUnknown message: 51"),
]

SECRETS = [
    ("F", encode.password(b"secret"), "F\t11\tPasswordMessage\t ***"),
    ("F", encode.sasl_response(b"secret"), "F\t10\tPasswordMessage\t ***"),
    (
        "F",
        encode.sasl_initial_response("SCRAM-SHA-256", b"secret"),
        "F\t28\tPasswordMessage\t ***",
    ),
    ("B", encode.auth_md5(b"secr"), "B\t12\tAuthentication\t 5 ***"),
    ("B", encode.auth_sasl_continue(b"secret"), "B\t14\tAuthentication\t 11 ***"),
    ("B", encode.auth_sasl_final(b"secret"), "B\t14\tAuthentication\t 12 ***"),
    ("B", encode.backend_key_data(b"\0\0\0\7secr"), "B\t12\tBackendKeyData\t 7 ***"),
]

BROKEN = [
    ("F", c.QUERY, b"SELECT", "F\t10\tQuery\t (broken)"),
    ("F", c.QUERY, b"a\0b", 'F\t7\tQuery\t "a" (broken)'),
    ("F", c.SYNC, b"x", "F\t5\tSync\t (broken)"),
    ("F", c.PARSE, b"s\0", 'F\t6\tParse\t "s" (broken)'),
    ("B", c.READY_FOR_QUERY, b"", "B\t4\tReadyForQuery\t (broken)"),
    ("B", c.READY_FOR_QUERY, b"\1", "B\t5\tReadyForQuery\t \\x01"),
    ("B", c.DATA_ROW, b"\0\1\0\0\0\5ab", "B\t12\tDataRow\t 1 (broken)"),
]


@pytest.mark.parametrize(("direction", "raw", "line"), LINES + SECRETS)
def test_lines(direction: str, raw: bytes, line: str) -> None:
    """Each message has its line, as PQtrace would write it; secrets are masked."""
    assert trace(direction, raw) == line


@pytest.mark.parametrize(("direction", "kind", "body", "line"), BROKEN)
def test_broken_bodies(direction: str, kind: int, body: bytes, line: str) -> None:
    """What can be read is shown, then the line says that it is broken."""
    assert trace_line(direction, kind, len(body) + 4, body) == line


def test_long_values_are_cut() -> None:
    """A line stays readable whatever its message holds."""
    line = trace("F", encode.query("é" * 10_000))
    assert line.endswith('é..."')
    assert len(line) < 300


@given(
    direction=st.sampled_from("FB"),
    kind=st.integers(0, 255),
    body=st.binary(max_size=60),
)
def test_any_bytes_make_one_line(direction: str, kind: int, body: bytes) -> None:
    """Nothing is raised, nothing unprintable gets into the log."""
    line = trace_line(direction, kind, len(body) + 4, body)
    assert "\n" not in line
    assert line.replace("\t", "").isprintable()
