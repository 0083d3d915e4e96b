"""What rewriting makes of texts that are out of the ordinary, on a real server."""

from __future__ import annotations

import struct

import pytest

from testkit.pgwire import error_fields
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.integration.test_rules_trouble import values, write

ONE_INSTALLATION = True

REWRITING = """
def rewrite_query(username, query, in_transaction):
    if "grow" in query:
        return "SELECT '" + "x" * 100_000 + "'"
    if not query:
        return "SELECT 'something'"
    if "nothing" in query:
        return " "
    if "twice" in query:
        word = query.split("'")[1]
        return query.replace("twice", "'" + word + word + "'")
    return query.replace("one", "SELECT 1; SELECT 2").replace("two", "SELECT 3")
"""
SYNC = message(b"S")


@pytest.fixture(scope="module")
def pooler(module_pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch that makes strange texts of strange texts."""
    return module_pgswitch(
        pool_mode="transaction",
        auth_type="trust",
        max_packet_size=50_000,
        rewrite_query_py_module_file=write(
            module_pgswitch.directory, "rewrite_query", REWRITING
        ),
    )


def test_a_text_that_grows_too_long(pooler: PgSwitch) -> None:
    """It counts as a failure: the original is sent, and the log says why."""
    with pooler.connect("trusted") as connection:
        row = connection.execute("SELECT 'grow'").fetchone()
        assert row == ("grow",)
    assert "returned a text too long for max_packet_size" in pooler.log_text()


def test_empty_texts(pooler: PgSwitch) -> None:
    """The functions see them, and may make one."""
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query(""))
        assert values(client) == [b"something"]
        client.send(query("nothing"))
        assert [kind for kind, _ in client.read_until(b"Z")] == [b"I", b"Z"]


def test_several_statements(pooler: PgSwitch) -> None:
    """In a Query they are what they are; in a Parse the server objects."""
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("one"))
        assert values(client) == [b"1", b"2"]
        parse = message(b"P", b"\0one\0\0\0")
        run = message(b"B", bytes(8)) + message(b"E", bytes(5))
        client.send(parse + run + SYNC + query("two"))
        kinds = client.read_until(b"Z")
        assert [kind for kind, _ in kinds] == [b"E", b"Z"]
        assert error_fields(kinds[0][1])["C"] == "42601"
        assert values(client) == [b"3"]


def test_types_of_parameters(pooler: PgSwitch) -> None:
    """They stay with the statement whose text is another."""
    text, integer = b"SELECT pg_typeof($1) -- two", struct.pack("!HI", 1, 20)
    with RawClient(pooler.port) as client:
        client.log_in()
        for name in (b"", b"named"):
            client.send(
                message(b"P", name + b"\0" + text + b"\0" + integer)
                + message(b"B", b"\0" + name + struct.pack("!xHHI", 0, 1, 1) + b"7\0\0")
                + message(b"E", bytes(5))
                + SYNC
            )
            assert values(client) == [b"bigint"]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("SJIS", "表示ソ"), ("EUC_KR", "한국어"), ("WIN1251", "чай"), ("UTF8", "é漢😀")],
)
def test_encodings(pooler: PgSwitch, encoding: str, text: str) -> None:
    """A function sees the characters, and what it adds is the same to the server."""
    with pooler.connect("trusted") as connection:
        connection.execute(f"SET client_encoding TO '{encoding}'")
        asked = f"SELECT '{text}', length('{text}'), twice, E'\\\\'"
        row = connection.execute(asked).fetchone()
        assert row == (text, len(text), text * 2, "\\")


def test_bytes_that_are_no_text(pooler: PgSwitch) -> None:
    """The server gets them as they were, in a changed text too, and says no."""
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("SET client_encoding TO SQL_ASCII"))
        client.read_until(b"Z")
        raw = b"\xc3\xa9\xe9"
        for asked in (b"SELECT '" + raw + b"'", b"two, '" + raw + b"'"):
            client.send(message(b"Q", asked + b"\0"))
            kind, body = client.read_until(b"Z")[0]
            assert kind == b"E"
            # The byte, and the quotation mark after it.
            assert "0xe9 0x27" in error_fields(body)["M"]
