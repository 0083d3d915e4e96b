"""Rarer parts of the protocol: FunctionCall, a COPY that fails, no simple queries."""

from __future__ import annotations

import struct

import pytest

from testkit.pgwire import error_fields, row_values
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitchFactory, RawClient

ONE_INSTALLATION = True


def function_call(number: int, *values: str) -> bytes:
    """Return a FunctionCall with values in text, the result in text."""
    arguments = b"".join(
        struct.pack("!i", len(value)) + value for value in map(str.encode, values)
    )
    body = struct.pack("!IHH", number, 0, len(values)) + arguments
    return message(b"F", body + struct.pack("!H", 0))


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_function_call(pgswitch: PgSwitchFactory, mode: str) -> None:
    """It takes a server and gives it back, also when it fails."""
    pooler = pgswitch(auth_type="trust", pool_mode=mode, default_pool_size=1)
    with RawClient(pooler.port) as client, RawClient(pooler.port) as other:
        client.log_in()
        client.send(query("SELECT 'int4pl(int4,int4)'::regprocedure::int"))
        row = client.read_until(b"Z")[1]
        number = int(row_values(row[1])[0] or 0)
        client.send(function_call(number, "3", "4") * 2)
        for _ in range(2):
            kind, body = client.read_message()
            assert (kind, body[4:]) == (b"V", b"7")
            assert client.read_message()[0] == b"Z"
        client.send(function_call(number, "3", "four"))
        assert client.read_error()["C"] == "22P02"
        assert client.read_message()[0] == b"Z"
        if mode != "session":
            other.log_in()
            other.send(query("SELECT 1"))
            assert b"D" in [kind for kind, _ in other.read_until(b"Z")]


def test_no_simple_queries(pgswitch: PgSwitchFactory) -> None:
    """disable_pqexec: a Query ends the client, the extended protocol does not."""
    pooler = pgswitch(auth_type="trust", disable_pqexec=1)
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(
            message(b"P", b"\0SELECT 1\0\0\0")
            + message(b"B", b"\0\0\0\0\0\0\0\0")
            + message(b"E", b"\0\0\0\0\0")
            + message(b"S")
        )
        assert [kind for kind, _ in client.read_until(b"Z")] == [
            b"1",
            b"2",
            b"D",
            b"C",
            b"Z",
        ]
        client.send(query("SELECT 1"))
        fields = client.read_error()
        assert (fields["S"], fields["M"]) == ("FATAL", "PQexec disallowed")
        assert client.is_closed()


COPY = "COPY taken FROM STDIN"
GOOD, BAD = message(b"d", b"1\n"), message(b"d", b"one\n")
DONE, FAIL = message(b"c"), message(b"f", b"given up\0")


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize(
    ("data", "sqlstate"),
    [
        (GOOD * 1000 + DONE, ""),
        (GOOD + FAIL, "57014"),
        (GOOD + BAD + GOOD * 5000 + DONE, "22P02"),
        (BAD + FAIL, "22P02"),
    ],
)
def test_copy_in(
    pgswitch: PgSwitchFactory, mode: str, data: bytes, sqlstate: str
) -> None:
    """Whatever the outcome, and long after the failure, the client goes on."""
    pooler = pgswitch(auth_type="trust", pool_mode=mode, default_pool_size=1)
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("CREATE TEMP TABLE taken (number int)"))
        client.read_until(b"Z")
        client.send(query(COPY))
        client.read_until(b"G")
        client.send(data)
        said = client.read_until(b"Z")
        errors = [error_fields(body)["C"] for kind, body in said if kind == b"E"]
        assert errors == ([sqlstate] if sqlstate else [])
        client.send(query("SELECT count(*) FROM taken"))
        row = client.read_until(b"Z")[1]
        assert row_values(row[1]) == ["0" if sqlstate else "1000"]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_copy_out_that_fails(pgswitch: PgSwitchFactory, mode: str) -> None:
    """In the middle of its rows."""
    pooler = pgswitch(auth_type="trust", pool_mode=mode, default_pool_size=1)
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(
            query("COPY (SELECT 1/(500 - n) FROM generate_series(1, 600) n) TO STDOUT")
        )
        said = client.read_until(b"Z")
        assert [kind for kind, _ in said].count(b"d") == 499
        assert error_fields(said[-2][1])["C"] == "22012"
        client.send(query("SELECT 7"))
        assert row_values(client.read_until(b"Z")[1][1]) == ["7"]
