"""A console session: statements in, exact replies out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from twisted.internet.defer import Deferred

from pgswitch.admin.console import LOGIN_PARAMETERS, Console, Reply
from pgswitch.admin.statements import OUR_USAGE
from pgswitch.admin.view import ServiceView
from pgswitch.errors import ConsoleNoSuchDatabase
from pgswitch.stats.counters import NAMES, Counters
from tests.unit.admin.fakes import FakeControl, FakeLog, fake_view
from tests.unit.admin.reading import Answer, read

BENCH = frozenset({"bench"})


@dataclass
class Session:
    """A console on fakes, and what it was seen to do."""

    is_admin: bool = True
    control: FakeControl = field(default_factory=FakeControl)
    view: ServiceView = field(default_factory=fake_view)
    log: FakeLog = field(default_factory=FakeLog)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.console = Console(
            self.view,
            self.control,
            is_admin=self.is_admin,
            log=self.log,
            counters=self.counters,
        )

    def ask(self, text: str) -> Answer:
        """Return the answer to a statement that is answered at once."""
        reply = self.console.query(text)
        assert isinstance(reply, Reply)
        assert not reply.close
        answer = read(reply.data)
        assert [one["M"] for one in answer.errors] == [one.text for one in reply.faults]
        return answer

    def begin(self, text: str) -> list[Reply]:
        """Give a statement that waits; return a list that its reply goes to."""
        waiting = self.console.query(text)
        assert isinstance(waiting, Deferred)
        replies: list[Reply] = []
        waiting.addCallback(replies.append)
        assert replies == []
        return replies


def invalid(text: str) -> str:
    """Return the error for a text that is no statement."""
    return f"invalid command '{text}', use SHOW HELP;"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        *((text, invalid(text)) for text in ["select 1", "show nosuch", "foo", "show"]),
        ("SHOW POOLS; SHOW CLIENTS", invalid("SHOW POOLS; SHOW CLIENTS")),
        ("PAUSE nosuch", "no such database: nosuch"),
        ("RESUME bench", "database bench is not paused"),
        ("RESUME", "pooler is not paused/suspended"),
        ("RECONNECT nosuch", "no such database: nosuch"),
        ("KILL nosuch", "no such database: nosuch"),
        ("KILL_CLIENT 12345", "client not found"),
        ("KILL_CLIENT abc", "invalid client pointer supplied"),
        ("SET default_pool_size='x'", "SET failed"),
        ("SET nosuch=1", "SET failed"),
        ("SET pool_mode=foo", "SET failed"),
        ("SHOW default_pool_size", invalid("SHOW default_pool_size")),
        ("WAIT_CLOSE nosuch", "no such database: nosuch"),
        *((text, invalid(text)) for text in ["SUSPEND x", "SHUTDOWN foo", "SET x"]),
        *((text, invalid(text)) for text in ["show config x", "SHOW pools extra"]),
        ("SHOW HBA", invalid("SHOW HBA")),
        ("RESUME pgbouncer", "database pgbouncer is not paused"),
        ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
        ("KILL pgbouncer", "cannot kill admin db: pgbouncer"),
        ("DISABLE", "a database is required"),
        ("SET a='" + "v" * 256 + "'", "bad arguments"),
    ],
)
def test_a_refusal_has_the_recorded_text(text: str, error: str) -> None:
    """A refused statement is an ERROR 08P01, logged, and the session goes on."""
    session = Session()
    answer = session.ask(text)
    assert answer.order == "EZ"
    assert answer.errors == [{"S": "ERROR", "C": "08P01", "M": error}]
    assert session.log.lines[-1] == ("ERROR", error)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("RESUME bench", "RESUME"),
        ("RESUME", "RESUME"),
        ("DISABLE bench", "DISABLE"),
        ("ENABLE bench", "ENABLE"),
        ("RECONNECT", "RECONNECT"),
        ("RECONNECT bench", "RECONNECT"),
        ('reconnect "we-b";', "RECONNECT"),
        ("KILL", "KILL"),
        ("KILL bench", "KILL"),
        ("KILL_CLIENT 7", "KILL_CLIENT"),
        ("SET default_pool_size=5", "SET default_pool_size=5"),
        ("set default_pool_size TO '5';", "SET default_pool_size=5"),
        ("SET listen_port=7000", "SET listen_port=7000"),
        ("RELOAD", "RELOAD"),
        ("SHUTDOWN WAIT_FOR_SERVERS", "SHUTDOWN"),
        ("DRAIN", "DRAIN"),
        ("drain timeout 30;", "DRAIN"),
        ("SHUTDOWN wait_for_clients", "SHUTDOWN"),
    ],
)
def test_a_success_has_the_recorded_tag(text: str, tag: str) -> None:
    """A command that succeeds is CommandComplete and ReadyForQuery."""
    control = FakeControl(paused=set(BENCH), is_all_paused=True)
    answer = Session(control=control).ask(text)
    assert (answer.order, answer.tag) == ("CZ", tag)


def test_pause_of_all_is_refused_while_in_force() -> None:
    """A second PAUSE without a database is an error."""
    answer = Session(control=FakeControl(is_all_paused=True)).ask("PAUSE")
    assert answer.errors[0]["M"] == "already suspended/paused"


def test_a_reload_that_fails_has_its_own_code() -> None:
    """RELOAD of a bad configuration is ERROR F0000."""
    answer = Session(control=FakeControl(is_reload_good=False)).ask("RELOAD")
    assert answer.errors == [
        {
            "S": "ERROR",
            "C": "F0000",
            "M": "RELOAD failed, see logs for additional details",
        }
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("SHOW FDS", "PAUSE", "RELOAD", "KILL_CLIENT 1", "SET default_pool_size=5"),
        *("RESUME", "DISABLE", "SHUTDOWN", "KILL pgbouncer", "WAIT_CLOSE"),
        "EXPLAIN ROUTE 'SELECT 1'",
    ],
)
def test_who_may_only_look_commands_nothing(text: str) -> None:
    """A stats user's command is refused before anything is done."""
    session = Session(is_admin=False)
    answer = session.ask(text)
    expected = {"S": "ERROR", "C": "08P01", "M": "admin access needed"}
    assert answer.errors == [expected]
    assert session.control.calls == []


def test_routes_are_explained() -> None:
    """As one row, with the tag EXPLAIN."""
    answer = Session().ask("EXPLAIN ROUTE user=joe database=bench 'SELECT 1'")
    assert (answer.order, answer.tag) == ("TDCZ", "EXPLAIN")
    assert answer.rows == [("SELECT 1", "bench", None, None, "no rules", "0")]


@pytest.mark.parametrize("is_admin", [True, False])
def test_everybody_may_look(is_admin: bool) -> None:  # noqa: FBT001 - a case
    """SHOW gives columns, rows, the tag SHOW and ReadyForQuery to stats users too."""
    answer = Session(is_admin=is_admin).ask("SHOW VERSION")
    assert (answer.order, answer.tag) == ("TDCZ", "SHOW")
    assert answer.columns == [("version", 25)]
    assert answer.rows == [("PgBouncer 1.25.2",)]
    assert Session(is_admin=is_admin).ask("select version;").order == "TDCZ"


def test_help_is_a_notice_with_all_commands() -> None:
    """SHOW HELP has no rows; its list of commands is the DETAIL of a NOTICE."""
    answer = Session(is_admin=False).ask("SHOW HELP")
    assert (answer.order, answer.tag) == ("NCZ", "SHOW")
    notice = answer.notices[0]
    assert (notice["S"], notice["C"], notice["M"]) == (
        *("NOTICE", "00000"),
        "Console usage",
    )
    assert notice["D"] == (
        "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION"
        "\n\tSHOW PEERS|PEER_POOLS"
        "\n\tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE"
        "\n\tSHOW DNS_HOSTS|DNS_ZONES"
        "\n\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS"
        "\n\tSET key = arg\n\tRELOAD\n\tPAUSE [<db>]\n\tRESUME [<db>]"
        "\n\tDISABLE <db>\n\tENABLE <db>\n\tRECONNECT [<db>]\n\tKILL [<db>]"
        "\n\tKILL_CLIENT <client_id>\n\tSUSPEND\n\tSHUTDOWN"
        "\n\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS\n\tWAIT_CLOSE [<db>]"
        + OUR_USAGE
    )


@pytest.mark.parametrize("is_admin", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        *("SET client_encoding TO 'UTF8'", "SET DateStyle=ISO", "SET timezone='UTC'"),
        *("SET standard_conforming_strings=on", "SET extra_float_digits = 3"),
        "SET default_transaction_isolation='read committed'",
    ],
)
def test_what_drivers_set_is_ignored(text: str, is_admin: bool) -> None:  # noqa: FBT001
    """SET of a session setting is a NOTICE, and reaches no configuration."""
    session = Session(is_admin=is_admin)
    answer = session.ask(text)
    assert (answer.order, answer.tag) == ("NCZ", "SET")
    assert answer.notices == [{"S": "NOTICE", "C": "00000", "M": "SET ignored"}]
    assert session.control.calls == []


def test_shutdown_says_nothing_and_closes() -> None:
    """SHUTDOWN without a mode has no reply: the connection just ends."""
    session = Session()
    reply = session.console.query("SHUTDOWN;")
    assert reply == Reply(b"", close=True)


@pytest.mark.parametrize("is_owner", [True, False])
def test_descriptors_go_along_with_their_rows(is_owner: bool) -> None:  # noqa: FBT001
    """To the process's own user only; the places are where the rows begin."""
    console = Console(
        fake_view(),
        FakeControl(),
        is_admin=True,
        is_owner=is_owner,
        log=FakeLog(),
        counters=Counters(),
    )
    reply = console.query("SHOW FDS")
    assert isinstance(reply, Reply)
    assert [fd for _, fd in reply.attached] == ([7, 8] if is_owner else [])
    assert all(reply.data[place] == ord("D") for place, _ in reply.attached)
    assert read(reply.data).order == "TDDCZ"


def test_each_statement_counts() -> None:
    """Whether it is understood or not: as a query, and as a transaction."""
    session = Session()
    for text in ("SHOW VERSION", "nonsense", ""):
        session.ask(text)
    assert session.counters.query_count == 3
    assert session.counters.xact_count == 3
    counted = {"query_count", "xact_count"}
    others = (getattr(session.counters, name) for name in NAMES if name not in counted)
    assert not any(others)


# ------------------------------------------------------------------------- waiting


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("PAUSE", "PAUSE"),
        ("PAUSE bench", "PAUSE"),
        ("SUSPEND;", "SUSPEND"),
        ("WAIT_CLOSE", "WAIT_CLOSE"),
        ('WAIT_CLOSE "we-b"', "WAIT_CLOSE"),
    ],
)
def test_a_statement_that_waits_is_answered_when_it_is_done(
    text: str, tag: str
) -> None:
    """The reply to PAUSE and WAIT_CLOSE comes when the service is done."""
    session = Session()
    replies = session.begin(text)
    session.control.waits[0].callback(None)
    answer = read(replies[0].data)
    assert (answer.order, answer.tag) == ("CZ", tag)
    session.console.closed()  # nothing waits any more, so nothing is cancelled


def test_a_wait_that_fails_is_an_error() -> None:
    """A console fault that ends the wait is the statement's answer."""
    session = Session()
    replies = session.begin("PAUSE bench")
    session.control.waits[0].errback(ConsoleNoSuchDatabase(database="bench"))
    answer = read(replies[0].data)
    assert answer.errors[0]["M"] == "no such database: bench"


def test_a_fault_of_the_service_is_not_hidden() -> None:
    """An exception that is no console fault reaches the caller."""
    session = Session()
    waiting = session.console.query("PAUSE")
    assert isinstance(waiting, Deferred)
    seen: list[object] = []
    waiting.addErrback(lambda failure: seen.append(failure.type))
    session.control.waits[0].errback(KeyError("bug"))
    assert seen == [KeyError]


def test_a_cancelled_statement_is_answered_and_resumes() -> None:
    """A cancel request ends the wait with query_canceled, then the pause of all."""
    session = Session(control=FakeControl(), view=fake_view(paused=True))
    replies = session.begin("PAUSE")
    session.control.is_all_paused = True
    session.console.cancel()
    answer = read(replies[0].data)
    assert answer.order == "EZ"
    assert answer.errors[0]["C"] == "57014"
    assert session.control.calls == [("pause", None), ("resume", None)]


@pytest.mark.parametrize(
    ("is_admin", "view"),
    [
        (True, fake_view()),
        (True, fake_view(paused=True, shutting_down=True)),
        (False, fake_view(paused=True)),
    ],
)
def test_a_cancel_request_does_not_always_resume(
    is_admin: bool,  # noqa: FBT001 - a case
    view: ServiceView,
) -> None:
    """With nothing paused, in a shutdown, or for a stats user, nothing is resumed."""
    session = Session(is_admin=is_admin, view=view)
    session.console.cancel()
    assert session.control.calls == []


def test_a_client_that_leaves_gives_up_its_statement() -> None:
    """When the client is gone, its Deferred is cancelled."""
    session = Session(view=fake_view(paused=True))
    session.begin("WAIT_CLOSE")
    session.console.closed()
    assert session.control.waits[0].called
    assert session.control.calls == [("wait_close", None)]


# ------------------------------------------------------------------------ messages


def test_a_query_message_is_a_statement() -> None:
    """Query is answered as its text is."""
    session = Session()
    reply = session.console.message(ord("Q"), b"SHOW VERSION\0")
    assert reply == session.console.query("SHOW VERSION")


def test_a_text_that_is_not_utf8_comes_back_as_it_was() -> None:
    """The error quotes the very bytes that were typed."""
    reply = Session().console.message(ord("Q"), b"foo \xff\0")
    assert isinstance(reply, Reply)
    assert b"invalid command 'foo \xff', use" in reply.data


@pytest.mark.parametrize(
    ("kind", "body", "order", "texts"),
    [
        *(
            (
                *(kind, b"", "EZE"),
                [
                    f"unsupported packet type for admin console: {ord(kind)}",
                    "bad packet",
                ],
            )
            for kind in "Fpdcf"
        ),
        ("Q", b"SHOW VERSION", "E", ["incomplete query"]),
        ("Q", b"SHOW\0VERSION\0", "E", ["incomplete query"]),
        ("X", b"", "", []),
    ],
)
def test_other_messages_end_the_session(
    kind: str, body: bytes, order: str, texts: list[str]
) -> None:
    """What is no query is refused and the connection closed."""
    reply = Session().console.message(ord(kind), body)
    assert isinstance(reply, Reply)
    assert reply.close
    answer = read(reply.data)
    assert answer.order == order
    assert [one["M"] for one in answer.errors] == texts
    severities = [one["S"] for one in answer.errors]
    assert severities == ["ERROR", "FATAL"][-len(texts) :][: len(texts)]


def test_terminate_leaves_its_reason_for_the_log() -> None:
    """A client's Terminate closes with the reason of an ordinary goodbye."""
    reply = Session().console.message(ord("X"), b"")
    assert isinstance(reply, Reply)
    assert [str(fault) for fault in reply.faults] == ["client close request"]


def test_a_login_learns_which_console_this_is() -> None:
    """Seven parameters are reported at login, the version first."""
    assert dict(LOGIN_PARAMETERS) == {
        "server_version": "1.25.2/bouncer",
        "client_encoding": "UTF8",
        "server_encoding": "UTF8",
        "DateStyle": "ISO",
        "TimeZone": "GMT",
        "standard_conforming_strings": "on",
        "is_superuser": "on",
    }
    assert LOGIN_PARAMETERS[0][0] == "server_version"


def test_tls_that_could_not_be_set() -> None:
    """SET succeeds, but says that the old settings still hold."""
    session = Session(control=FakeControl(has_tls=False))
    answer = session.ask("SET client_tls_dheparams = 5")
    assert answer.tag == "SET client_tls_dheparams=5"
    assert [notice["M"] for notice in answer.notices] == [
        "TLS settings could not be applied, still using old configuration"
    ]
    assert session.ask("SET default_pool_size = 5").notices == []
