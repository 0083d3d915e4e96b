"""The console by Parse, Bind, Describe, Execute, as drivers use it."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from pgswitch.admin.console import Console, Reply
from pgswitch.admin.extended import MAX_PORTALS, MAX_PREPARED, MAX_TEXT
from pgswitch.stats.counters import Counters
from pgswitch.wire import encode
from tests.fakes.messages import close_statement, describe_statement, split
from tests.unit.admin.fakes import FakeControl, FakeLog, fake_view
from tests.unit.admin.reading import Answer, read


class Session:
    """A console that is spoken to in messages."""

    def __init__(self, *, is_admin: bool = True) -> None:
        """Begin."""
        self.control = FakeControl()
        self.counters = Counters()
        self.console = Console(
            fake_view(),
            self.control,
            is_admin=is_admin,
            log=FakeLog(),
            counters=self.counters,
        )

    def say(self, *messages: bytes) -> Answer:
        """Return what is answered at once."""
        data = b""
        for kind, body in split(b"".join(messages)):
            reply = self.console.message(ord(kind), body)
            assert isinstance(reply, Reply)
            assert not reply.close
            data += reply.data
        return read(data)


def bind(
    formats: bytes = b"\0\0", statement: str = "", parameters: bytes = b"\0\0"
) -> bytes:
    """Return Bind with these counted result formats and parameters."""
    body = b"\0" + statement.encode() + b"\0" + b"\0\0" + parameters + formats
    return encode.message(ord("B"), body)


def execute(limit: int = 0) -> bytes:
    """Return Execute of the unnamed portal."""
    return encode.message(ord("E"), b"\0" + limit.to_bytes(4, "big"))


@pytest.mark.parametrize("describe", [describe_statement(""), b""])
def test_a_query_of_a_driver(describe: bytes) -> None:
    """As JDBC and Npgsql ask: described by portal, perhaps by statement before."""
    answer = Session().say(
        encode.parse("", "SHOW VERSION"),
        describe,
        bind(),
        encode.describe_portal(),
        execute(),
        encode.sync(),
    )
    assert answer.order == "1" + ("tT" if describe else "") + "2TDCZ"
    assert (answer.columns, answer.rows) == (
        [("version", 25)],
        [("PgBouncer 1.25.2",)],
    )
    assert answer.tag == "SHOW"


def test_a_prepared_statement_is_used_again() -> None:
    """As asyncpg asks: named once, then bound as often as wanted."""
    session = Session()
    answer = session.say(
        encode.parse("a", "SHOW STATE"), describe_statement("a"), encode.sync()
    )
    assert answer.order == "1tTZ"
    for _ in range(2):
        answer = session.say(bind(statement="a"), execute(), encode.sync())
        assert (answer.order, len(answer.rows)) == ("2DDDCZ", 3)
    answer = session.say(close_statement("a"), encode.sync())
    assert answer.order == "3Z"
    answer = session.say(bind(statement="a"), execute(), encode.sync())
    assert answer.order == "EZ"
    assert answer.errors[0]["C"] == "26000"
    assert session.counters.query_count == session.counters.xact_count == 5


def test_binary_results() -> None:
    """One code for all columns; integers arrive as integers."""
    session = Session()
    session.say(encode.parse("", "SHOW DNS_ZONES"), bind(b"\0\1\0\1"))
    reply = session.console.message(ord("E"), b"\0\0\0\0\1")
    assert isinstance(reply, Reply)
    assert split(reply.data)[0] == (
        "D",
        b"\0\3\0\0\0\7example" + b"\0\0\0\x08" + bytes(7) + b"\7\0\0\0\4\0\0\0\2",
    )


def test_rows_in_portions() -> None:
    """A limit of Execute suspends the portal; Sync ends it."""
    session = Session()
    session.say(encode.parse("", "SHOW STATE"), bind())
    assert session.say(execute(2)).order == "DDs"
    assert session.say(execute(2)).order == "DC"
    assert session.say(encode.sync(), execute()).errors[0]["C"] == "34000"


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("SHOW HELP", "12nNCZ"),
        ("SET timezone = 'UTC'", "12nNCZ"),
        ("RELOAD", "12nCZ"),
        ("", "12nIZ"),
        ("-- ping", "12nIZ"),
    ],
)
def test_statements_without_rows(text: str, order: str) -> None:
    """NoData, and what they say otherwise."""
    answer = Session().say(
        encode.parse("", text),
        bind(),
        encode.describe_portal(),
        execute(),
        encode.sync(),
    )
    assert answer.order == order


@pytest.mark.parametrize(
    ("messages", "code", "text"),
    [
        ([encode.parse("", "foo")], "08P01", "invalid command 'foo', use SHOW HELP;"),
        ([encode.parse("", "SHOW x")], "08P01", "invalid command 'SHOW x', use SHOW"),
        ([encode.parse("", "PAUSE x"), bind(), execute()], "08P01", "no such database"),
        ([bind()], "26000", 'prepared statement "" does not exist'),
        ([describe_statement("q")], "26000", 'prepared statement "q" does not'),
        ([encode.describe_portal("p")], "34000", 'portal "p" does not exist'),
        (
            [encode.parse("a", "SHOW MEM"), encode.parse("a", "SHOW MEM")],
            "42P05",
            'prepared statement "a" already exists',
        ),
        (
            [encode.parse("", "RELOAD"), bind(parameters=b"\0\1\0\0\0\1x")],
            "08P01",
            "bind message supplies 1 parameters",
        ),
    ],
)
def test_errors_skip_to_sync(messages: list[bytes], code: str, text: str) -> None:
    """The session goes on after Sync, and nothing between is carried out."""
    session = Session()
    session.control.calls.clear()
    answer = session.say(*messages, encode.parse("", "RELOAD"), bind(), execute())
    assert answer.order[-1] == "E"
    (error,) = answer.errors
    assert (error["S"], error["C"]) == ("ERROR", code)
    assert error["M"].startswith(text)
    assert ("reload",) not in session.control.calls
    assert session.say(encode.sync()).order == "Z"
    assert session.say(encode.parse("", "RELOAD"), bind(), execute()).order == "12C"


def test_who_may_not(  # the rights are looked at when it is carried out
) -> None:
    """A stats user prepares what it likes, and is refused at Execute."""
    session = Session(is_admin=False)
    answer = session.say(encode.parse("", "RELOAD"), bind(), execute(), encode.sync())
    assert answer.order == "12EZ"
    assert answer.errors[0]["M"] == "admin access needed"


def test_a_command_that_takes_its_time() -> None:
    """PAUSE is answered when it is done."""
    session = Session()
    session.say(encode.parse("", "PAUSE"), bind())
    waiting = session.console.message(ord("E"), execute()[5:])
    assert isinstance(waiting, Deferred)
    replies: list[Reply] = []
    waiting.addCallback(replies.append)
    session.control.waits[0].callback(None)
    assert read(replies[0].data).order == "C"


@pytest.mark.parametrize(
    "message",
    [
        encode.message(ord("P"), b"a"),
        encode.message(ord("B"), b"\0\0"),
        encode.message(ord("B"), b"\0\0\0\1\0\7\0\0\0\0"),
        encode.message(ord("E"), b"\0"),
        encode.message(ord("D"), b"X\0"),
    ],
)
def test_broken_messages_end_the_session(message: bytes) -> None:
    """As with a server: the protocol is lost."""
    session = Session()
    session.say(encode.parse("", "SHOW MEM"))
    ((kind, body),) = split(message)
    reply = session.console.message(ord(kind), body)
    assert isinstance(reply, Reply)
    assert reply.close
    assert read(reply.data).errors[0]["S"] == "FATAL"


def test_how_much_may_be_prepared() -> None:
    """What one client may have us keep is bounded, by number and by size."""
    session = Session()
    for number in range(MAX_PREPARED):
        assert session.say(encode.parse(f"p{number}", "SHOW MEM")).order == "1"
    answer = session.say(encode.parse("one more", "SHOW MEM"), encode.sync())
    assert (answer.order, answer.errors[0]["C"]) == ("EZ", "53400")
    assert session.say(close_statement("p0")).order == "3"
    assert session.say(encode.parse("one more", "SHOW MEM")).order == "1"
    session = Session()
    long = "SHOW MEM /*" + "x" * (MAX_TEXT // 3) + "*/"
    for name in ("", "", "a", ""):
        assert session.say(encode.parse(name, long)).order == "1"
    answer = session.say(encode.parse("b", long), encode.sync())
    assert answer.errors[0]["C"] == "53400"
    assert session.say(close_statement("a")).order == "3"
    assert session.say(encode.parse("b", long)).order == "1"


def test_how_many_portals_there_may_be() -> None:
    """Until Sync, which ends them all."""
    session = Session()
    session.say(encode.parse("", "SHOW MEM"))
    binds = [
        encode.message(ord("B"), f"{number}\0".encode() + bytes(7))
        for number in range(MAX_PORTALS + 1)
    ]
    assert session.say(*binds[:-1], binds[0]).order == "2" * (MAX_PORTALS + 1)
    answer = session.say(binds[-1], encode.sync())
    assert (answer.order, answer.errors[0]["C"]) == ("EZ", "53400")
    assert session.say(binds[-1]).order == "2"
