"""What a client hears between the loss of its transaction and the end of it."""

from __future__ import annotations

import pytest

from pgswitch.wire import encode
from pgswitch.wire.lost_transaction import LostTransaction
from tests.fakes.messages import kinds, split

TEXTS = {b"r": b"ROLLBACK", b"s": b"SELECT 1"}


def lost(*, told: bool = False, **more: bool) -> LostTransaction:
    """Return the state of a client that knows the statements r and s."""
    return LostTransaction(lambda name: TEXTS.get(name, b""), told=told, **more)


def say(state: LostTransaction, *messages: bytes) -> tuple[str, bool]:
    """Say messages; return SQLSTATEs and types of the answers, and whether it ended."""
    heard: list[str] = []
    for kind, body in split(b"".join(messages)):
        answer, over = state.message(ord(kind), body)
        for what, content in split(answer):
            text = what
            if what == "E":
                text = content.split(b"\0C")[1][:5].decode()
            elif what in "CZ":
                text = what + content.rstrip(b"\0").decode()
            heard.append(text)
        if over:
            return " ".join(heard), True
    return " ".join(heard), False


@pytest.mark.parametrize(
    "text", ["ROLLBACK", "abort;", "  rollback work ; ", "Rollback transaction"]
)
def test_a_rollback_ends_it_quietly(text: str) -> None:
    """It is what the client wanted anyway."""
    assert say(lost(), encode.query(text)) == ("CROLLBACK ZI", True)


def test_what_is_told_is_noted() -> None:
    """For whoever counts errors; the 40001 may have a DETAIL of its own."""
    state = lost()
    state.detail = "The server said: why."
    say(state, encode.query("SELECT 1"), encode.query("SELECT 1"))
    assert [fault.sqlstate for fault in state.faults] == ["40001", "25P02"]
    assert state.faults[0].detail == "The server said: why."


@pytest.mark.parametrize("text", ["COMMIT", "end", "commit and no chain"])
def test_a_commit_that_hears_of_it_first(text: str) -> None:
    """It must not seem to succeed; afterwards it says ROLLBACK, as PostgreSQL does."""
    assert say(lost(), encode.query(text)) == ("40001 ZI", True)
    assert say(lost(told=True), encode.query(text)) == ("CROLLBACK ZI", True)


@pytest.mark.parametrize(
    "text",
    ["SELECT 1", "", "ROLLBACK TO a", "ROLLBACK; SELECT 1", "COMMIT PREPARED 'x'"],
)
def test_everything_else_is_refused(text: str) -> None:
    """The first time with what happened, then as in any failed transaction."""
    state = lost()
    assert say(state, encode.query(text)) == ("40001 ZE", False)
    assert say(state, encode.query(text)) == ("25P02 ZE", False)
    assert say(state, encode.query("ROLLBACK")) == ("CROLLBACK ZI", True)


def test_a_pipeline_is_refused_once() -> None:
    """What follows the error is skipped up to the Sync."""
    state = lost()
    batch = (
        encode.parse("", "SELECT 1"),
        encode.bind("", ""),
        encode.execute(),
        encode.sync(),
    )
    assert say(state, *batch) == ("40001 ZE", False)
    assert say(state, *batch) == ("25P02 ZE", False)


@pytest.mark.parametrize("text", ["ROLLBACK", "COMMIT"])
def test_the_end_by_the_extended_protocol(text: str) -> None:
    """Parse, Bind, Describe and Execute of it work, and the Sync ends it."""
    heard, over = say(
        lost(told=True),
        encode.parse("x", text),
        encode.describe_statement("x"),
        encode.bind("", "x"),
        encode.describe_portal(),
        encode.execute(),
        encode.close_statement("x"),
        encode.sync(),
    )
    assert heard == "1 t n 2 n CROLLBACK 3 ZI"
    assert over


def test_statements_prepared_before() -> None:
    """Drivers prepare their ROLLBACK once and for all."""
    heard, over = say(lost(), encode.bind("", "r"), encode.execute(), encode.sync())
    assert (heard, over) == ("2 CROLLBACK ZI", True)
    for name in ("s", "unknown"):
        assert say(lost(), encode.bind("", name), encode.sync())[0] == "40001 ZE"


def test_a_commit_of_the_extended_protocol_that_hears_of_it_first() -> None:
    """Refused, but ended."""
    heard = say(
        lost(),
        encode.parse("", "COMMIT"),
        encode.bind("", ""),
        encode.execute(),
        encode.sync(),
    )
    assert heard == ("1 2 40001 ZI", True)


def test_the_rest_of_a_pipeline() -> None:
    """Up to the Sync nothing is said: the client has had its error."""
    state = lost(told=True, skipping=True)
    assert say(state, encode.bind("", ""), encode.execute()) == ("", False)
    assert say(state, encode.sync()) == ("ZE", False)
    state = lost(told=True, skipping=True, over=True)
    assert say(state, encode.execute(), encode.sync()) == ("ZI", True)


def test_function_calls_and_late_copy_data() -> None:
    """The one is refused, the other is dropped."""
    state = lost()
    assert say(state, encode.message(ord("F"), b"")) == ("40001 ZE", False)
    late = [encode.message(ord(kind)) for kind in "dcfH"]
    assert say(state, *late) == ("", False)
    assert kinds(b"".join(late)) == "dcfH"
