"""What a client hears between the loss of its transaction and the end of it."""

from __future__ import annotations

import pytest

from pgswitch.errors import BrokenPacket
from pgswitch.stats.counters import Counters
from pgswitch.wire import encode
from pgswitch.wire.exchange import Exchange
from pgswitch.wire.loss import LostTransaction
from pgswitch.wire.prepared import ClientStatements
from pgswitch.wire.statements import StatementTable
from tests.fakes.messages import close_statement, describe_statement, kinds, split

KNOWN = {b"r": b"ROLLBACK", b"s": b"SELECT 1", b"e": b""}


def known(most: int = 10) -> ClientStatements:
    """Return the statements of a client that has prepared those above."""
    made = ClientStatements(StatementTable(), Exchange(), most, Counters())
    for name, text in KNOWN.items():
        made.introduce(name, text + b"\0\0\0")
    return made


def lost(
    statements: ClientStatements | None = None, *, reported: bool = False, **more: bool
) -> LostTransaction:
    """Return the state of such a client."""
    return LostTransaction(statements or known(), reported=reported, **more)


def run(text: str, name: str = "") -> bytes:
    """Return the messages that run a statement by the extended protocol."""
    return encode.parse(name, text) + encode.bind("", name) + encode.execute()


def say(state: LostTransaction, *messages: bytes) -> tuple[str, bool]:
    """Say messages; return SQLSTATEs and types of the answers, and whether it ended.

    What is left to the next server stands behind ``|``.
    """
    heard: list[str] = []
    given = split(b"".join(messages))
    while given:
        kind, body = given.pop(0)
        answer = state.message(ord(kind), body)
        for what, content in split(answer.data):
            text = what
            if what == "E":
                text = content.split(b"\0C")[1][:5].decode()
            elif what in "CZ":
                text = what + content.rstrip(b"\0").decode()
            heard.append(text)
        if answer.is_over:
            rest = split(answer.ahead) + given
            if rest:
                heard.append("|")
            for what, content in rest:
                text = content.rstrip(b"\0").decode() if what == "Q" else ""
                heard.append(what + text)
            return " ".join(heard), True
    return " ".join(heard), False


@pytest.mark.parametrize(
    "text", ["ROLLBACK", "abort;", "  rollback work ; ", "Rollback transaction"]
)
def test_a_rollback_ends_it_quietly(text: str) -> None:
    """It is what the client wanted anyway."""
    assert say(lost(), encode.query(text)) == ("CROLLBACK ZI", True)


def test_errors_sent_are_recorded() -> None:
    """The error counters need it; the 40001 may have a DETAIL of its own."""
    state = lost()
    state.detail = "The server said: why."
    say(state, encode.query("SELECT 1"), encode.query("SELECT 1"))
    assert [fault.sqlstate for fault in state.faults] == ["40001", "25P02"]
    assert state.faults[0].detail == "The server said: why."


@pytest.mark.parametrize("text", ["COMMIT", "end", "commit and no chain"])
def test_a_commit_that_hears_of_it_first(text: str) -> None:
    """It must not seem to succeed; afterwards it says ROLLBACK, as PostgreSQL does."""
    assert say(lost(), encode.query(text)) == ("40001 ZI", True)
    assert say(lost(reported=True), encode.query(text)) == ("CROLLBACK ZI", True)


@pytest.mark.parametrize(
    "text",
    [
        "/* x */ ROLLBACK",
        "ROLLBACK /* /* x */ */ -- y",
        "-- x\nROLLBACK",
        "-- x\rROLLBACK",
        ";; ROLLBACK",
        "ROLLBACK ; ; /* x */ ;",
        "ABORT",
        "END",
        "END TRANSACTION",
        "COMMIT/**/WORK",
        "ROLLBACK AND NO CHAIN",
        "PREPARE TRANSACTION 'x'",
        "PREPARE TRANSACTION E'x'",
    ],
)
def test_whatever_ends_it(text: str) -> None:
    """Comments, blanks and empty statements are none, and the tag is ROLLBACK."""
    assert say(lost(reported=True), encode.query(text)) == ("CROLLBACK ZI", True)
    heard = say(lost(reported=True), run(text), encode.sync())
    assert heard == ("1 2 CROLLBACK ZI", True)


@pytest.mark.parametrize("text", ["", ";", " ; ;", "-- x", "/* ; */ ;", "\n"])
def test_an_empty_text(text: str) -> None:
    """It is not refused, but for its Bind."""
    state = lost(reported=True)
    assert say(state, encode.query(text)) == ("I ZE", False)
    assert say(state, run(text), encode.sync()) == ("1 25P02 ZE", False)
    assert say(state, describe_statement(""), encode.sync())[0] == "t n ZE"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("ROLLBACK; SELECT 1", " SELECT 1"),
        ("ROLLBACK;SELECT ';'; BEGIN", "SELECT ';'; BEGIN"),
        (
            "/* ; */ ROLLBACK /* ; */ ;; INSERT INTO t VALUES (1);",
            "; INSERT INTO t VALUES (1);",
        ),
        ("ABORT; ROLLBACK", " ROLLBACK"),
        ("ROLLBACK; ROLLBACK AND CHAIN", " ROLLBACK AND CHAIN"),
        ("COMMIT; SELECT 1", " SELECT 1"),
        ("PREPARE TRANSACTION 'a;b'; SELECT 1", " SELECT 1"),
    ],
)
def test_what_stands_behind_the_end(text: str, rest: str) -> None:
    """It is outside of the transaction, and for the next server."""
    heard = say(lost(reported=True), encode.query(text), encode.query("SELECT 2"))
    assert heard == (f"CROLLBACK | Q{rest} QSELECT 2", True)


@pytest.mark.parametrize(
    "text", ["ROLLBACK AND CHAIN", "COMMIT WORK AND CHAIN; SELECT 1"]
)
def test_a_chain_is_broken(text: str) -> None:
    """There is no such transaction any more, and nothing of the text runs outside."""
    for reported in (False, True):
        assert say(lost(reported=reported), encode.query(text)) == ("40001 ZI", True)
        only = text.partition(";")[0]
        rest = (run("SELECT 1"), encode.sync(), encode.query("SELECT 2"))
        heard = say(lost(reported=reported), run(only), *rest)
        assert heard == ("1 2 40001 ZI | QSELECT 2", True)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT 1; ROLLBACK",
        "ROLLBACK TO a",
        "ROLLBACK TRANSACTION TO SAVEPOINT a; SELECT 1",
        "RELEASE a",
        "BEGIN",
        "COMMIT PREPARED 'x'",
        "ROLLBACK PREPARED 'x'",
        "PREPARE transaction AS SELECT 1",
        "ROLLBACK x",
        "rollbacks",
        '"rollback"',
        "'rollback'",
        "$$x$$; ROLLBACK",
        "/* ROLLBACK",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    """The first time with what happened, then as in any failed transaction."""
    state = lost()
    if "/*" not in text:
        assert say(state, encode.query(text)) == ("40001 ZE", False)
        assert say(state, encode.query(text)) == ("25P02 ZE", False)
    assert say(state, encode.query("ROLLBACK")) == ("CROLLBACK ZI", True)


def test_only_one_statement_can_be_prepared() -> None:
    """As ever."""
    state = lost(reported=True)
    heard = say(state, run("ROLLBACK; SELECT 1"), encode.sync())
    assert heard == ("42601 ZE", False)
    assert say(state, run("SELECT 1; ROLLBACK"), encode.sync())[0] == "25P02 ZE"


def test_a_rollback_to_a_savepoint_can_be_prepared() -> None:
    """Its savepoint is lost, which is said when it is run."""
    state = lost(reported=True)
    heard = say(state, run("ROLLBACK TO a", "auto"), encode.sync())
    assert heard == ("1 2 25P02 ZE", False)
    assert say(state, encode.bind("", "auto"), encode.sync())[0] == "2 ZE"


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
    heard, ended = say(
        lost(reported=True),
        encode.parse("x", text),
        describe_statement("x"),
        encode.bind("", "x"),
        encode.describe_portal(),
        encode.message(ord("H")),
        encode.execute(),
        encode.message(ord("H")),
        close_statement("x"),
        encode.sync(),
    )
    assert heard == "1 t n 2 n CROLLBACK 3 ZI"
    assert ended


def test_a_pipeline_goes_on_behind_the_end() -> None:
    """What follows is for the next server, from the first message that needs one."""
    follows = run("INSERT INTO t VALUES (1)") + encode.sync()
    heard = say(lost(), run("ROLLBACK"), close_statement("s"), follows)
    assert heard == ("1 2 CROLLBACK 3 | P B E S", True)
    heard = say(lost(), run("ROLLBACK"), encode.query("SELECT 1"), encode.sync())
    assert heard == ("1 2 CROLLBACK | QSELECT 1 S", True)


def test_statements_prepared_before() -> None:
    """Drivers prepare their ROLLBACK once and for all."""
    heard, ended = say(lost(), encode.bind("", "r"), encode.execute(), encode.sync())
    assert (heard, ended) == ("2 CROLLBACK ZI", True)
    for name, code in (("s", "25P02"), ("e", "25P02"), ("unknown", "26000")):
        state = lost()
        assert say(state, encode.bind("", name), encode.sync())[0] == "40001 ZE"
        assert say(state, encode.bind("", name), encode.sync())[0] == f"{code} ZE"
    asked = describe_statement
    for name, heard in (("r", "t n"), ("s", "25P02"), ("e", "t n"), ("x", "26000")):
        assert say(lost(reported=True), asked(name), encode.sync())[0] == f"{heard} ZE"


def test_portals() -> None:
    """They outlive a Sync, and are none without a Bind; values are refused."""
    state = lost(reported=True)
    assert say(state, encode.execute("p"), encode.sync())[0] == "25P02 ZE"
    assert say(state, encode.describe_portal("p"), encode.sync())[0] == "25P02 ZE"
    assert say(state, encode.bind("p", "r", ["1"]), encode.sync())[0] == "25P02 ZE"
    assert say(state, encode.bind("p", "r"), encode.sync())[0] == "2 ZE"
    assert say(state, encode.message(ord("C"), b"Pq\0"), encode.sync())[0] == "3 ZE"
    assert say(state, encode.execute("p"), encode.sync())[0] == "CROLLBACK ZI"
    state = lost(reported=True)
    closed = encode.bind("p", "r") + encode.message(ord("C"), b"Pp\0")
    assert say(state, closed, encode.execute("p"), encode.sync())[0] == "2 3 25P02 ZE"


def test_what_is_prepared_here_is_the_clients() -> None:
    """A name means afterwards what it would have meant on the server."""
    statements = known()
    state = lost(statements, reported=True)
    prepared = encode.parse("new", "ROLLBACK") + encode.sync()
    assert say(state, prepared) == ("1 ZE", False)
    assert statements.text_of(b"new") == b"ROLLBACK"
    assert say(state, prepared)[0] == "42P05 ZE"
    assert say(state, encode.parse("s", "COMMIT"), encode.sync())[0] == "42P05 ZE"
    assert say(state, encode.parse("bad", "SELECT 1"), encode.sync())[0] == "25P02 ZE"
    assert statements.text_of(b"bad") is None
    assert say(state, encode.parse("", "ROLLBACK"), encode.sync())[0] == "1 ZE"
    assert statements.text_of(b"") is None
    assert say(state, encode.bind("", ""), encode.execute())[0] == "2 CROLLBACK"


def test_what_is_closed_here_is_closed() -> None:
    """Its name can be used again, here and afterwards; no reference is left."""
    statements = known()
    state = lost(statements, reported=True)
    for name in ("s", "r", "e", "s", "unknown"):
        heard = say(state, close_statement(name), encode.sync())
        assert heard == ("3 ZE", False)
    assert not statements.names
    assert len(statements.table) == 0
    again = encode.parse("s", "ROLLBACK") + encode.bind("", "s") + encode.execute()
    assert say(state, again, close_statement("s"))[0] == "1 2 CROLLBACK 3"
    assert len(statements.table) == 0


@pytest.mark.parametrize("statements", [None, known(most=0)])
def test_when_no_names_are_kept(statements: ClientStatements | None) -> None:
    """Then they last as long as the transaction."""
    state = LostTransaction(statements, reported=True)
    heard = say(state, encode.parse("x", "ROLLBACK"), encode.sync())
    assert heard == ("1 ZE", False)
    assert say(state, encode.parse("x", "ROLLBACK"), encode.sync())[0] == "42P05 ZE"
    assert say(state, close_statement("x"), encode.sync())[0] == "3 ZE"
    assert say(state, encode.bind("", "x"), encode.sync())[0] == "26000 ZE"


@pytest.mark.parametrize("kind", ["P", "B"])
def test_broken_messages(kind: str) -> None:
    """They are the end of the connection, as ever."""
    with pytest.raises(BrokenPacket):
        lost().message(ord(kind), b"\0cut")


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
    more = (run("INSERT INTO t VALUES (1)"), encode.sync(), encode.query("SELECT 1"))
    heard = say(lost(), run("COMMIT"), *more)
    assert heard == ("1 2 40001 ZI | QSELECT 1", True)
    heard = say(lost(), encode.query("COMMIT; SELECT 1"), encode.query("SELECT 2"))
    assert heard == ("40001 ZI | QSELECT 2", True)


@pytest.mark.parametrize(
    ("message", "heard"),
    [
        (encode.sync(), "40001 ZI"),
        (encode.query("SELECT 1"), "40001 ZI"),
        (encode.message(ord("F")), "40001 ZI"),
        (encode.message(ord("H")) + run("SELECT 1") + encode.sync(), "40001 ZI"),
        (close_statement("s") + encode.sync(), "40001 ZI"),
    ],
)
def test_a_pipeline_that_is_lost_between_its_messages(
    message: bytes, heard: str
) -> None:
    """Its Sync must not seem to commit what was done; then it is over."""
    state = lost(ended=True)
    assert say(state, message) == (heard, True)


def test_the_rest_of_a_pipeline() -> None:
    """Up to the Sync nothing is said: the client has had its error."""
    state = lost(reported=True, skipping=True)
    assert say(state, encode.bind("", ""), encode.execute()) == ("", False)
    assert say(state, encode.sync()) == ("ZE", False)
    state = lost(reported=True, skipping=True, ended=True)
    assert say(state, encode.execute(), encode.sync()) == ("ZI", True)


def test_function_calls_and_late_copy_data() -> None:
    """The one is refused, the other is dropped."""
    state = lost()
    assert say(state, encode.message(ord("F"), b"")) == ("40001 ZE", False)
    late = [encode.message(ord(kind)) for kind in "dcfH"]
    assert say(state, *late) == ("", False)
    assert kinds(b"".join(late)) == "dcfH"
