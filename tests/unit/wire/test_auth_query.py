"""What auth_query sends, and how its answers are read."""

from __future__ import annotations

import pytest

from pgswitch.errors import ProtocolViolation
from pgswitch.wire import encode
from pgswitch.wire.auth_query import AuthQuery
from pgswitch.wire.password import Secret, SecretKind
from tests.fakes.messages import error, kinds, message, split

TWO = encode.row_description([("name", 25, -1), ("secret", 25, -1)])
HOSTILE = "x'; DROP TABLE users; --"


def answered(*messages: bytes) -> AuthQuery:
    """Return a query that has been answered so."""
    query = AuthQuery("SELECT $1", "u")
    for kind, body in split(b"".join(messages)):
        query.message(ord(kind), body)
    return query


def test_the_name_is_a_parameter() -> None:
    """One batch, nothing before it; whatever the name holds is no SQL."""
    request = AuthQuery("SELECT 1", HOSTILE).request
    assert kinds(request) == "PBDES"
    parse, bind, *_ = split(request)
    assert parse[1] == b"\0SELECT 1\0\0\0"
    assert HOSTILE.encode() in bind[1]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["u", "secret"], SecretKind.PLAIN),
        (["u", "md5" + "0" * 32], SecretKind.MD5),
        (["u", ""], SecretKind.PLAIN),
        (["u", None], SecretKind.PLAIN),
    ],
)
def test_a_row(values: list[str | None], kind: SecretKind) -> None:
    """Name and secret; NULL is a secret that nothing fits."""
    query = answered(TWO, encode.data_row(values))
    assert query.name == "u"
    assert query.secret.kind is kind
    assert bool(query.secret) is bool(values[1])
    assert not query.unfit


def test_no_row() -> None:
    """No such user."""
    assert answered(TWO).name is None
    assert not answered(TWO).unfit


def test_another_name() -> None:
    """The row's name counts, cut as names are."""
    query = answered(TWO, encode.data_row(["v" * 200, "secret"]))
    assert query.name == "v" * 127


def test_the_last_row_counts() -> None:
    """Of several."""
    rows = [encode.data_row(["u", word]) for word in ("one", "two")]
    assert answered(TWO, *rows).secret == Secret.of("two")


@pytest.mark.parametrize(
    ("messages", "complaint", "unfit"),
    [
        (
            [error("no table", "42P01")],
            "error in auth_query: ERROR: no table",
            "error response from auth_query",
        ),
        (
            [encode.row_description([("name", 25, -1)]), encode.data_row(["u"])],
            "expected 2 columns from auth_query, not 1",
            "expected 2 columns from auth_query, not 1",
        ),
        (
            [message(b"n")],
            "expected 2 columns from auth_query, not 0",
            "expected 2 columns from auth_query, not 0",
        ),
        (
            [TWO, encode.data_row([None, "secret"])],
            "auth_query response contained null user name",
            "auth_query response contained null user name",
        ),
        (
            [TWO, encode.data_row(["u", "secret"]), error("too late")],
            "error in auth_query: ERROR: too late",
            "error response from auth_query",
        ),
    ],
)
def test_bad_answers(messages: list[bytes], complaint: str, unfit: str) -> None:
    """Said in the log; the server is not used again."""
    query = answered(*messages)
    assert (query.complaint, query.unfit) == (complaint, unfit)


@pytest.mark.parametrize(
    "data",
    [message(b"T", b"\0"), TWO + message(b"D", b"\0\2"), message(b"E", b"S")],
)
def test_broken_messages(data: bytes) -> None:
    """Raise, as everywhere."""
    with pytest.raises(ProtocolViolation):
        answered(data)
