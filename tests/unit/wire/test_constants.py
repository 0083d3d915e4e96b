"""Tests of pgswitch/wire/constants.py."""

import pytest

from pgswitch.wire import constants as c
from pgswitch.wire import encode

FRONTEND = "BCDEHFPpQSXfdc"
BACKEND = "RK23CWGHDIEVvnNAtS1sZTdc"


def constant_name(message: str) -> str:
    """Return the name of the constant of a message: ReadyForQuery, READY_FOR_QUERY."""
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in message)
    return words.strip("_").upper()


@pytest.mark.parametrize(
    ("names", "letters"), [(c.FRONTEND_NAMES, FRONTEND), (c.BACKEND_NAMES, BACKEND)]
)
def test_tables_hold_every_message(names: dict[int, str], letters: str) -> None:
    """Each side's table has exactly the message types of the manual."""
    assert sorted(map(chr, names)) == sorted(letters)


@pytest.mark.parametrize("names", [c.FRONTEND_NAMES, c.BACKEND_NAMES])
def test_constants_are_named_like_their_messages(names: dict[int, str]) -> None:
    """The constant of a message is its name in capitals."""
    for kind, name in names.items():
        assert getattr(c, constant_name(name)) == kind


def test_special_codes() -> None:
    """Request codes are 1234 in the high half and 5678 to 5680 in the low one."""
    halves = [
        divmod(code, 1 << 16)
        for code in (c.CANCEL_REQUEST_CODE, c.SSL_REQUEST_CODE, c.GSSENC_REQUEST_CODE)
    ]
    assert halves == [(1234, 5678), (1234, 5679), (1234, 5680)]
    assert c.PROTOCOL_3_0 == 196608


def test_whole_messages() -> None:
    """They are what would be encoded."""
    assert encode.ready_for_query() == c.READY_FOR_QUERY_IDLE
    assert c.READY_FOR_QUERY_IDLE[:-1] == c.READY_FOR_QUERY_HEADER
    assert len(c.READY_FOR_QUERY_IDLE) == c.READY_FOR_QUERY_SIZE
    for found, kind, body in (
        (c.FLUSH_MESSAGE, c.FLUSH, b""),
        (c.SYNC_MESSAGE, c.SYNC, b""),
        (c.CLOSE_UNNAMED_MESSAGE, c.CLOSE, bytes((c.PREPARED_STATEMENT, 0))),
        (c.PARSE_COMPLETE_MESSAGE, c.PARSE_COMPLETE, b""),
        (c.CLOSE_COMPLETE_MESSAGE, c.CLOSE_COMPLETE, b""),
    ):
        assert found == encode.message(kind, body)
