"""The console word by word: tags, errors, who may do what."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest

from pgswitch.admin.statements import OUR_USAGE
from pgswitch.demo.postgres import Installation
from pgswitch.demo.processes import Account
from testkit.pgwire import error_fields, row_values, startup
from tests.fakes.messages import message, query
from tests.integration.running import ADMIN, PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True

HELP_DETAIL = (
    "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION"
    "\n\tSHOW PEERS|PEER_POOLS"
    "\n\tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE"
    "\n\tSHOW DNS_HOSTS|DNS_ZONES"
    "\n\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS"
    "\n\tSET key = arg"
    "\n\tRELOAD"
    "\n\tPAUSE [<db>]"
    "\n\tRESUME [<db>]"
    "\n\tDISABLE <db>"
    "\n\tENABLE <db>"
    "\n\tRECONNECT [<db>]"
    "\n\tKILL [<db>]"
    "\n\tKILL_CLIENT <client_id>"
    "\n\tSUSPEND"
    "\n\tSHUTDOWN"
    "\n\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS"
    "\n\tWAIT_CLOSE [<db>]"
)


class Answer(NamedTuple):
    """What the console said to one command: the tag, or the text of the error."""

    tag: str = ""
    error: str = ""
    sqlstate: str = "08P01"


def refused(text: str) -> Answer:
    """Return the answer to a command that fails."""
    return Answer(error=text)


def unknown(command: str) -> Answer:
    """Return the answer to a command that there is not."""
    return refused(f"invalid command '{command}', use SHOW HELP;")


def ask(console: RawClient, command: str) -> Answer:
    """Run one command and return what it got."""
    console.send(query(command))
    answer = Answer()
    for kind, body in console.read_until(b"Z"):
        if kind == b"C":
            answer = answer._replace(tag=body[:-1].decode())
        elif kind == b"E":
            fields = error_fields(body)
            assert fields["S"] == "ERROR"
            assert set(fields) == {"S", "C", "M"}
            answer = answer._replace(error=fields["M"], sqlstate=fields["C"])
        elif kind == b"Z":
            assert body == b"I"
    return answer


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch that trusts, with a peer and a user of stats_users."""
    return pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        stats_users="md5",
        sections={"peers": {"1": "host=127.0.0.1 port=6400 pool_size=3"}},
    )


@pytest.fixture
def console(pooler: PgSwitch) -> Iterator[RawClient]:
    """Yield an administrator's console without a driver."""
    with RawClient(pooler.port) as client:
        client.log_in(ADMIN, "pgbouncer")
        yield client


def test_words_in_any_case(console: RawClient) -> None:
    """Words may be small, the semicolon may stay, SELECT says the same as SHOW."""
    for text in (
        "show version",
        "Show Version;",
        " SHOW  VERSION ; ",
        "select version",
    ):
        console.send(query(text))
        assert row_values(console.read_until(b"Z")[1][1]) == ["PgBouncer 1.25.2"], text


def test_what_drivers_ask(console: RawClient) -> None:
    """Drivers that ask a server for its settings get an answer, and may set them."""
    for word, value in (
        ("client_encoding", "UTF-8"),
        ("default_transaction_isolation", "read committed"),
        ("standard_conforming_strings", "on"),
        ("datestyle", "ISO"),
        ("timezone", "GMT"),
    ):
        console.send(query(f"SHOW {word}"))
        assert row_values(console.read_until(b"Z")[1][1]) == [value]
        console.send(query(f"SET {word} = 'x'"))
        notice, *rest = console.read_until(b"Z")
        assert notice[0] == b"N"
        assert error_fields(notice[1])["M"] == "SET ignored"
        assert rest == [(b"C", b"SET\0"), (b"Z", b"I")]


def test_help(console: RawClient) -> None:
    """A notice without rows."""
    console.send(query("SHOW HELP"))
    notice, *rest = console.read_until(b"Z")
    fields = error_fields(notice[1])
    assert (fields["S"], fields["C"], fields["M"], fields["D"]) == (
        *("NOTICE", "00000", "Console usage"),
        HELP_DETAIL + OUR_USAGE,
    )
    assert rest == [(b"C", b"SHOW\0"), (b"Z", b"I")]


ANSWERS = [
    ("SELECT 1", unknown("SELECT 1")),
    ("show nosuch", unknown("show nosuch")),
    ("foo", unknown("foo")),
    ("show", unknown("show")),
    ("", Answer()),
    ("; ", Answer()),
    ("-- nothing", Answer()),
    ("SHOW POOLS; SHOW CLIENTS", unknown("SHOW POOLS; SHOW CLIENTS")),
    ("PAUSE nosuch", refused("no such database: nosuch")),
    ("PAUSE bench", Answer("PAUSE")),
    ("RESUME bench", Answer("RESUME")),
    ("RESUME bench", refused("database bench is not paused")),
    ("PAUSE", Answer("PAUSE")),
    ("PAUSE", refused("already suspended/paused")),
    ("PAUSE bench", refused("already suspended/paused")),
    ("KILL bench", refused("already suspended/paused")),
    ("RESUME", Answer("RESUME")),
    ("RESUME", refused("pooler is not paused/suspended")),
    ("DISABLE bench", Answer("DISABLE")),
    ("ENABLE bench", Answer("ENABLE")),
    ("ENABLE bench", Answer("ENABLE")),
    ("DISABLE", refused("a database is required")),
    ("ENABLE", refused("a database is required")),
    ("DISABLE nosuch", refused("no such database: nosuch")),
    ("ENABLE nosuch", refused("no such database: nosuch")),
    ("RECONNECT", Answer("RECONNECT")),
    ("RECONNECT bench", Answer("RECONNECT")),
    ("RECONNECT nosuch", refused("no such database: nosuch")),
    ("KILL nosuch", refused("no such database: nosuch")),
    ("KILL_CLIENT 12345", refused("client not found")),
    ("KILL_CLIENT abc", refused("invalid client pointer supplied")),
    ("SET default_pool_size=5", Answer("SET default_pool_size=5")),
    ("SET default_pool_size='x'", refused("SET failed")),
    ("SET nosuch=1", refused("SET failed")),
    ("SET pool_mode=foo", refused("SET failed")),
    ("SET listen_port=7000", Answer("SET listen_port=7000")),
    ("SHOW default_pool_size", unknown("SHOW default_pool_size")),
    ("RELOAD", Answer("RELOAD")),
    ("RELOAD bench", unknown("RELOAD bench")),
    ("WAIT_CLOSE", Answer("WAIT_CLOSE")),
    ("WAIT_CLOSE bench", Answer("WAIT_CLOSE")),
    ("WAIT_CLOSE nosuch", refused("no such database: nosuch")),
    ("SUSPEND x", unknown("SUSPEND x")),
    ("SHUTDOWN foo", unknown("SHUTDOWN foo")),
    ("SET x", unknown("SET x")),
    ("show config x", unknown("show config x")),
    ("SHOW pools extra", unknown("SHOW pools extra")),
    ("SHOW HBA", unknown("SHOW HBA")),
    ("RESUME pgbouncer", refused("database pgbouncer is not paused")),
    ("PAUSE pgbouncer", refused("cannot pause admin db: pgbouncer")),
    ("KILL pgbouncer", refused("cannot kill admin db: pgbouncer")),
    ("RECONNECT pgbouncer", refused("cannot reconnect admin db: pgbouncer")),
    ("DISABLE pgbouncer", refused("cannot disable admin db: pgbouncer")),
    ("ENABLE pgbouncer", refused("cannot enable admin db: pgbouncer")),
    ("WAIT_CLOSE pgbouncer", refused("cannot wait in admin db: pgbouncer")),
    ("kill", Answer("KILL")),
]


def test_answers(pooler: PgSwitch, console: RawClient) -> None:
    """One after another on one session: each has its tag, or its error."""
    pooler.execute("SELECT 1")
    for command, answer in ANSWERS:
        assert ask(console, command) == answer, command


def test_a_stats_user(pooler: PgSwitch) -> None:
    """Who is in stats_users looks, and does nothing."""
    with RawClient(pooler.port) as client:
        client.log_in("md5", "pgbouncer")
        for command in ("SHOW VERSION", "SHOW CONFIG", "SHOW HELP", "SHOW STATS"):
            assert ask(client, command) == Answer("SHOW"), command
        assert ask(client, "SET timezone = 'UTC'") == Answer("SET")
        for command in (
            *("PAUSE", "RESUME", "RELOAD", "KILL", "KILL_CLIENT 1", "SHUTDOWN"),
            *("SET default_pool_size=5", "RECONNECT", "WAIT_CLOSE", "PAUSE nosuch"),
            *("DISABLE bench", "ENABLE bench", "DISABLE", "KILL bench"),
        ):
            assert ask(client, command) == refused("admin access needed"), command


def test_the_login(pooler: PgSwitch) -> None:
    """The console presents itself as a server of its own version."""
    with RawClient(pooler.port) as client:
        client.send(startup("user", ADMIN, "database", "pgbouncer"))
        reported = [
            body[:-1].decode().split("\0")
            for kind, body in client.read_until(b"Z")
            if kind == b"S"
        ]
    assert reported == [
        ["server_version", "1.25.2/bouncer"],
        ["client_encoding", "UTF8"],
        ["server_encoding", "UTF8"],
        ["DateStyle", "ISO"],
        ["TimeZone", "GMT"],
        ["standard_conforming_strings", "on"],
        ["is_superuser", "on"],
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (message(b"F"), "unsupported packet type for admin console: 70"),
    ],
)
def test_only_queries(console: RawClient, data: bytes, text: str) -> None:
    """Anything else is an error, and then the end."""
    console.send(data)
    error, ready = console.read_until(b"Z")
    assert (error_fields(error[1])["S"], error_fields(error[1])["M"]) == ("ERROR", text)
    assert ready == (b"Z", b"I")
    assert console.read_error()["M"] == "bad packet"
    assert console.is_closed()


def test_a_command_in_quotes(pgswitch: PgSwitchFactory) -> None:
    """A database with a hyphen is named in double quotes, in the case it has."""
    entry = pgswitch.usual_databases()["bench"]
    pooler = pgswitch({"Two-Part": f"{entry} dbname=bench"}, auth_type="trust")
    with RawClient(pooler.port) as client:
        client.log_in(ADMIN, "pgbouncer")
        assert ask(client, 'PAUSE "Two-Part"') == Answer("PAUSE")
        assert ask(client, 'RESUME "Two-Part";') == Answer("RESUME")
        assert ask(client, 'RESUME "two-part"').error == "no such database: two-part"
        assert ask(client, "PAUSE Two-Part").error == (
            "invalid command 'PAUSE Two-Part', use SHOW HELP;"
        )


def test_killed_databases(pooler: PgSwitch, console: RawClient) -> None:
    """KILL drops clients and pools, pauses the database, and RESUME takes it back."""
    with RawClient(pooler.port) as victim:
        victim.log_in()
        assert ask(console, "KILL bench") == Answer("KILL")
        fields = victim.read_error()
        assert (fields["S"], fields["C"], fields["M"]) == (
            *("FATAL", "08P01"),
            "database removed",
        )
        assert victim.is_closed()
    rows = {row["name"]: row for row in pooler.console("SHOW DATABASES")}
    assert (rows["bench"]["paused"], rows["other"]["paused"]) == (1, 0)
    assert all(row["database"] != "bench" for row in pooler.console("SHOW POOLS"))
    assert ask(console, "RESUME bench") == Answer("RESUME")
    assert pooler.execute("SELECT 1") == [(1,)]


def test_pause_in_session_mode(pooler: PgSwitch, console: RawClient) -> None:
    """A client that keeps its server keeps PAUSE waiting until it leaves."""
    assert ask(console, "SET pool_mode=session") == Answer("SET pool_mode=session")
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("SELECT 1"))
        client.read_until(b"Z")
        console.send(query("PAUSE"))
        wait_until(
            lambda: {"key": "paused", "value": "yes"} in pooler.console("SHOW STATE"),
            "the pause",
        )
        console.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            console.read_message()
        console.socket.settimeout(10)
    assert console.read_until(b"Z") == [(b"C", b"PAUSE\0"), (b"Z", b"I")]
    assert ask(console, "RESUME") == Answer("RESUME")


def test_shutdown(pooler: PgSwitch, console: RawClient) -> None:
    """No answer, every connection closed without a word, exit code 0."""
    with RawClient(pooler.port) as client:
        client.log_in()
        console.send(query("SHUTDOWN"))
        assert console.is_closed()
        assert client.is_closed()
    wait_until(lambda: not pooler.is_running, "the process to end")
    assert pooler.stop() == 0


def test_logins_during_a_shutdown(pooler: PgSwitch, console: RawClient) -> None:
    """The port is closed; on the unix socket only the console is served."""
    with pooler.connect() as client:
        client.execute("SELECT 1")
        assert ask(console, "SHUTDOWN WAIT_FOR_CLIENTS") == Answer("SHUTDOWN")
        with pytest.raises(psycopg.OperationalError, match="refused"):
            pooler.connect()
        local = f"host={pooler.directory} port={pooler.port}"
        with pytest.raises(psycopg.OperationalError, match="pooler is shutting down"):
            psycopg.connect(f"{local} user=trusted dbname=bench")
        psycopg.connect(f"{local} user={ADMIN} dbname=pgbouncer").close()
        assert ask(console, "RESUME") == refused("pooler is shutting down")
        assert client.execute("SELECT 2").fetchone() == (2,)


def test_the_peer_on_the_unix_socket(
    pgswitch: PgSwitchFactory, installation: Installation, account: Account | None
) -> None:
    """Who runs as pgswitch's own user is administrator there, by name pgbouncer."""
    pooler = pgswitch(auth_type="scram-sha-256")
    command = [
        installation.program("psql"),
        *("-XAtw", "-h", str(pooler.directory), "-p", str(pooler.port)),
        *("-U", "pgbouncer", "-d", "pgbouncer", "-c", "WAIT_CLOSE"),
    ]
    finished = subprocess.run(
        command,
        capture_output=True,
        check=False,
        cwd=pooler.directory,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        text=True,
        timeout=10,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "WAIT_CLOSE\n"
    pooler.wait_for_log("pgbouncer access from unix socket")
    # For others it is a name that auth_file does not have.
    for host in ["127.0.0.1"] if account is None else [pooler.directory, "127.0.0.1"]:
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(
                f"host={host} port={pooler.port}"
                " user=pgbouncer password=guess dbname=pgbouncer"
            )


def test_cancelling_a_pause(pooler: PgSwitch) -> None:
    """Ctrl-C on a console that waits in PAUSE ends the pause."""
    with pooler.connect(autocommit=False) as busy, RawClient(pooler.port) as console:
        busy.execute("SELECT 1")
        console.send(startup("user", ADMIN, "database", "pgbouncer"))
        key = next(body for kind, body in console.read_until(b"Z") if kind == b"K")
        console.send(query("PAUSE"))
        state = {"key": "paused", "value": "yes"}
        wait_until(lambda: state in pooler.console("SHOW STATE"), "the pause")
        with RawClient(pooler.port) as other:
            other.send(b"\0\0\0\x10\x04\xd2\x16\x2e" + key)
            assert other.is_closed()
        wait_until(lambda: state not in pooler.console("SHOW STATE"), "its end")
        assert pooler.execute("SELECT 1") == [(1,)]
