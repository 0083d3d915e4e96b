"""Rules where things go wrong: targets that cannot be used, clients that leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from textwrap import dedent

import psycopg
import psycopg.errors
import pytest

from pgswitch.demo.postgres import PostgresServer
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True

Make = Callable[..., PgSwitch]
BY_COMMENT = """
    def routing_rules(username, query, in_transaction):
        return query.partition("--")[2].strip() or None
"""
WHERE = "SELECT current_database() --"
FLUSH = message(b"H")
SYNC = message(b"S")


def parse(text: str, name: bytes = b"") -> bytes:
    """Return a Parse."""
    return message(b"P", name + b"\0" + text.encode() + b"\0\0\0")


def run(name: bytes = b"") -> bytes:
    """Return Bind and Execute."""
    bind = message(b"B", b"\0" + name + b"\0" + bytes(6))
    return bind + message(b"E", b"\0" + bytes(4))


def place(postgres: PostgresServer) -> dict[str, str]:
    """Return entries that can be used, and such that cannot."""
    server = f"host=127.0.0.1 port={postgres.port}"
    return {
        "bench": f"{server} dbname=bench",
        "two": f"{server} dbname=other",
        "kept": f"{server} dbname=other pool_mode=session",
        "narrow": f"{server} dbname=other max_db_client_connections=1",
        "*": server,
        "missing": f"{server} dbname=no_such_database",
        "wrong": f"{server} dbname=other user=scram password=wrong",
    }


def write(directory: Path, name: str, text: str) -> str:
    """Write a file of rules; return its path."""
    directory.chmod(0o755)
    path = directory / f"{name}.py"
    path.write_text(dedent(text))
    path.chmod(0o644)
    return str(path)


def by_comment(
    factory: PgSwitchFactory, postgres: PostgresServer, default_pool_size: int = 20
) -> PgSwitch:
    """Return a pgswitch where a comment says where a query goes."""
    rules = write(factory.directory, "routing_rules", BY_COMMENT)
    return factory(
        place(postgres),
        pool_mode="transaction",
        auth_type="trust",
        routing_rules_py_module_file=rules,
        default_pool_size=default_pool_size,
    )


@pytest.fixture(scope="module")
def pooler(postgres: PostgresServer, module_pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch where a comment says where a query goes."""
    return by_comment(module_pgswitch, postgres)


@pytest.fixture
def rewriting(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, directory: Path
) -> Callable[..., PgSwitch]:
    """Return what starts a pgswitch with a rewrite_query()."""

    def made(text: str, on_failure: str = "false") -> PgSwitch:
        return pgswitch(
            place(postgres),
            pool_mode="transaction",
            auth_type="trust",
            rewrite_query_py_module_file=write(directory, "rewrite_query", text),
            rewrite_query_disconnect_on_failure=on_failure,
        )

    return made


def values(client: RawClient) -> list[bytes]:
    """Return the first column of all rows up to ReadyForQuery."""
    return [body[6:] for kind, body in client.read_until(b"Z") if kind == b"D"]


def test_a_paused_target(pooler: PgSwitch) -> None:
    """Who goes there waits; the others do not."""
    pooler.console("PAUSE two")
    with RawClient(pooler.port) as client, pooler.connect() as other:
        client.log_in()
        client.send(query(WHERE + "two"))
        wait_until(
            lambda: any(
                row["cl_waiting"]
                for row in pooler.console("SHOW POOLS")
                if row["database"] == "two"
            ),
            "the client to wait",
        )
        assert other.execute("SELECT 1").fetchone() == (1,)
        pooler.console("RESUME two")
        assert values(client) == [b"other"]


def test_a_disabled_target(pooler: PgSwitch) -> None:
    """It takes no new client, and keeps the present ones."""
    with pooler.connect("trusted") as there, pooler.connect("trusted") as here:
        assert there.execute((WHERE + "two").encode()).fetchone() == ("other",)
        pooler.console("DISABLE two")
        try:
            assert there.execute((WHERE + "two").encode()).fetchone() == ("other",)
            with pytest.raises(psycopg.OperationalError, match='"two" is disabled'):
                here.execute((WHERE + "two").encode())
            assert here.closed
        finally:
            pooler.console("ENABLE two")


@pytest.mark.parametrize(
    ("target", "words"),
    [("missing", "no_such_database"), ("wrong", "password authentication failed")],
)
def test_a_target_that_refuses(pooler: PgSwitch, target: str, words: str) -> None:
    """The client gets the reason, and no other client notices."""
    with RawClient(pooler.port) as client, pooler.connect() as other:
        client.log_in()
        client.send(query(WHERE + target))
        assert words in client.read_error()["M"]
        assert client.is_closed()
        assert other.execute("SELECT 1").fetchone() == (1,)
    with pooler.connect("trusted") as again:
        assert again.execute((WHERE + "two").encode()).fetchone() == ("other",)


def test_a_target_whose_servers_are_kept(pooler: PgSwitch) -> None:
    """As long as its pool mode says; on the way back the server is reset."""
    with pooler.connect("trusted", prepare_threshold=None) as connection:
        connection.execute("CREATE TEMP TABLE mine AS SELECT 7 AS id --kept")
        (pool,) = (r for r in pooler.console("SHOW POOLS") if r["database"] == "kept")
        assert (pool["cl_active"], pool["sv_active"]) == (1, 1)
        assert connection.execute("SELECT id FROM mine").fetchone() == (7,)
        row = connection.execute((WHERE + "bench").encode()).fetchone()
        assert row == ("bench",)
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT id FROM mine --kept")


def test_a_target_for_few_clients(pooler: PgSwitch) -> None:
    """Only those count that have logged in to it, as the manual of PgBouncer says."""
    with ExitStack() as stack:
        for _ in range(2):
            mover = stack.enter_context(pooler.connect("trusted"))
            row = mover.execute((WHERE + "narrow").encode()).fetchone()
            assert row == ("other",)
        stack.enter_context(pooler.connect("trusted", "narrow"))
        with pytest.raises(psycopg.OperationalError, match="max_db_client_connections"):
            pooler.connect("trusted", "narrow")


def test_a_target_that_only_the_star_means(pooler: PgSwitch) -> None:
    """It is unknown: rules name entries, or a slip would become a database."""
    with pooler.connect("trusted") as connection:
        row = connection.execute((WHERE + "other").encode()).fetchone()
        assert row == ("bench",)
    with pooler.connect("trusted", "other") as connection:
        row = connection.execute((WHERE + "bench").encode()).fetchone()
        assert row == ("bench",), "but who is there may go"


def test_a_target_that_is_killed(pooler: PgSwitch) -> None:
    """Who has been sent there is gone with it, those that wait too."""
    with RawClient(pooler.port) as there, RawClient(pooler.port) as waiting:
        there.log_in()
        there.send(query(WHERE + "two"))
        assert values(there) == [b"other"]
        pooler.console("PAUSE two")
        waiting.log_in()
        waiting.send(query(WHERE + "two"))
        wait_until(
            lambda: any(row["cl_waiting"] for row in pooler.console("SHOW POOLS")),
            "the client to wait",
        )
        pooler.console("KILL two")
        pooler.console("RESUME two")
        for client in (there, waiting):
            assert client.read_error()["M"] == "database removed"
            assert client.is_closed()


def test_a_query_amid_copy(pooler: PgSwitch) -> None:
    """A server closes the connection then, whatever a rule wants; its pool goes on."""
    with RawClient(pooler.port) as client, RawClient(pooler.port) as other:
        for one in (client, other):
            one.log_in()
        client.send(query("CREATE TEMP TABLE taken (id int); COPY taken FROM STDIN"))
        assert client.read_until(b"G")[-1][0] == b"G"
        client.send(message(b"d", b"1\n") + query(WHERE + "two"))
        assert client.read_error()["C"] == "08P01"
        with pytest.raises(EOFError):
            client.read_until(b"Z")
        other.send(query(WHERE + "bench"))
        assert values(other) == [b"bench"]


def test_a_move_in_a_failed_transaction(pooler: PgSwitch) -> None:
    """It is the server that says no, as to any query there."""
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("BEGIN --bench") + query("SELECT 1/0"))
        client.read_until(b"Z")
        client.read_until(b"Z")
        client.send(query(WHERE + "two"))
        assert client.read_error()["C"] == "25P02"
        client.read_until(b"Z")
        client.send(query("ROLLBACK --two") + query(WHERE + "two"))
        client.read_until(b"Z")
        assert values(client) == [b"other"]


def test_cancelling_after_a_move(pooler: PgSwitch) -> None:
    """What runs elsewhere is cancelled there, and moves in between do no harm."""
    with pooler.connect("trusted", prepare_threshold=None) as connection:
        for target, name in (("two", "other"), ("bench", "bench")) * 2:
            timer = threading.Timer(0.2, connection.cancel)
            timer.start()
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute(f"SELECT pg_sleep(20) --{target}".encode())
            timer.join()
            row = connection.execute("SELECT current_database()").fetchone()
            assert row == (name,)


def test_copy_after_a_move(pooler: PgSwitch) -> None:
    """In and out, where the rule sent it."""
    with pooler.connect("trusted") as connection:
        connection.execute("CREATE TABLE copied (id integer) --two")
        try:
            connection.execute("SELECT 1 --bench")
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY copied FROM STDIN --two") as copy,
            ):
                for number in range(10_000):
                    copy.write_row((number,))
            connection.execute("SELECT 1 --bench")
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY copied TO STDOUT --two") as copy,
            ):
                assert sum(1 for _ in copy.rows()) == 10_000
        finally:
            connection.execute("DROP TABLE copied --two")


def test_errors_amid_a_pipeline(pooler: PgSwitch) -> None:
    """What follows is skipped to the Sync; the next pipeline may go elsewhere."""
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(
            parse(WHERE + "two")
            + run()
            + parse("SELECT 1/0")
            + run()
            + parse(WHERE + "bench")
            + run()
            + SYNC
            + parse(WHERE + "bench")
            + run()
            + SYNC
            + query(WHERE + "two")
        )
        assert values(client) == [b"other"]
        assert values(client) == [b"bench"]
        assert values(client) == [b"other"]


def test_queries_that_are_skipped(pooler: PgSwitch) -> None:
    """After an error of the extended protocol all is skipped to the Sync.

    Simple queries and calls of functions are so too, wherever a rule would send them.
    """
    bad, elsewhere = parse("SELECT no_such_column"), query(WHERE + "two")
    call = message(b"F", bytes(3) + b"\1" + bytes(6))
    behind = (
        query("SELECT 1") * 3,
        query("SELECT 1") + elsewhere,
        query("SELECT 1") * 2 + parse(WHERE + "two") + run(),
        call + parse(WHERE + "two"),
        elsewhere * 2,
    )
    missing = message(b"D", b"Sno_such_statement\0")
    with RawClient(pooler.port) as client, RawClient(pooler.port) as other:
        client.log_in()
        other.log_in()
        for first in (bad, missing):
            for skipped in behind:
                client.send(query(WHERE + "bench"))
                assert values(client) == [b"bench"]
                client.send(first + skipped + SYNC)
                assert [kind for kind, _ in client.read_until(b"Z")] == [b"E", b"Z"]
                client.send(first + FLUSH)
                client.read_until(b"E")
                client.send(skipped)
                client.send(SYNC + elsewhere)
                assert [kind for kind, _ in client.read_until(b"Z")] == [b"Z"]
                assert values(client) == [b"other"]
                other.send(query(WHERE + "bench"))
                assert values(other) == [b"bench"]


def test_a_query_behind_a_copy(pooler: PgSwitch) -> None:
    """Sent in one go with it; it goes where a rule sends it, once the COPY is done."""
    ends = ((message(b"c"), b"C"), (message(b"f", b"no\0"), b"E"))
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("CREATE TABLE behind (id integer) --bench"))
        client.read_until(b"Z")
        data = message(b"d", b"1\n")
        try:
            for copy in (
                query("COPY behind FROM STDIN --bench"),
                parse("COPY behind FROM STDIN --bench") + run() + FLUSH,
            ):
                for end, answer in ends:
                    sync = SYNC if copy[:1] == b"P" else b""
                    client.send(copy + data + end + sync + query(WHERE + "two"))
                    assert [kind for kind, _ in client.read_until(b"Z")][-2:] == [
                        answer,
                        b"Z",
                    ]
                    assert values(client) == [b"other"]
            client.send(query("SELECT count(*) FROM behind --bench"))
            assert values(client) == [b"2"]
        finally:
            client.send(query("DROP TABLE behind --bench"))
            client.read_until(b"Z")


def test_flush_without_sync(pooler: PgSwitch) -> None:
    """Answers come one by one; a move has to wait for the Sync."""
    with RawClient(pooler.port) as client:
        client.log_in()
        for target, name in (("two", b"other"), ("bench", b"bench")):
            client.send(parse(WHERE + target, b"s") + FLUSH)
            assert client.read_message()[0] == b"1"
            client.send(run(b"s") + FLUSH)
            assert client.read_message()[0] == b"2"
            assert client.read_message()[1][6:] == name
            client.send(parse(WHERE + "nowhere") + FLUSH + message(b"C", b"Ss\0"))
            assert client.read_message()[0] == b"C"
            assert client.read_message()[0] == b"1"
            client.send(SYNC)
            assert [kind for kind, _ in client.read_until(b"Z")] == [b"3", b"Z"]
        client.send(parse("SELECT 1") + parse(WHERE + "two") + FLUSH)
        assert client.read_error()["C"] == "25001"
        client.send(parse("SELECT 1") + FLUSH + SYNC)
        assert [kind for kind, _ in client.read_until(b"Z")] == [b"Z"]


def test_a_rule_that_fails_amid_a_pipeline(rewriting: Make) -> None:
    """By policy the client is gone, its transaction undone, its server not reused."""
    text = "def rewrite_query(u, q, t): return 1 / 0 if 'bad' in q else None"
    pooler = rewriting(text, "true")
    with pooler.connect("trusted") as other, RawClient(pooler.port) as client:
        other.execute("CREATE TABLE piped (id integer)")
        try:
            client.log_in()
            client.send(
                parse("INSERT INTO piped VALUES (1)")
                + run()
                + parse("SELECT 'bad'")
                + run()
                + SYNC
            )
            received: list[tuple[bytes, bytes]] = []
            while not received or received[-1][0] != b"E":
                received.append(client.read_message())
            assert b"rewrite_query failed" in received[-1][1]
            assert client.is_closed()
            row = other.execute("SELECT count(*) FROM piped").fetchone()
            assert row == (0,)
        finally:
            other.execute("DROP TABLE piped")


THINKING = """
    from twisted.internet.defer import Deferred

    waiting = []

    def rewrite_query(username, query, in_transaction):
        if "think" in query:
            waiting.append(Deferred())
            return waiting[-1]
        if "how many" in query:
            return f"SELECT {len(waiting)}"
        if "go on" in query:
            while waiting:
                waiting.pop().callback("SELECT 'thought'")
"""


def thinking(connection: psycopg.Connection) -> int:
    """Return for how many queries the rule is thinking."""
    row = connection.execute("SELECT 'how many'").fetchone()
    assert row is not None
    return int(row[0])


def is_thinking(connection: psycopg.Connection, count: int) -> bool:
    """Tell whether the rule is thinking about so many queries."""
    return thinking(connection) == count


def test_clients_that_leave_while_a_rule_thinks(rewriting: Make) -> None:
    """However they leave, what the rule says then comes to nothing."""
    pooler = rewriting(THINKING)
    with pooler.connect("trusted", prepare_threshold=None) as other:
        closed, reset, killed, stays = (RawClient(pooler.port) for _ in range(4))
        for number, client in enumerate((closed, reset, killed, stays), 1):
            client.log_in()
            client.send(query("SELECT 'think'") + query("SELECT 'next'"))
            wait_until(partial(is_thinking, other, number), "the rule to think")
        port = killed.socket.getsockname()[1]
        closed.socket.close()
        reset.send(message(b"X"))
        reset.socket.close()
        (row,) = (r for r in pooler.console("SHOW CLIENTS") if r["port"] == port)
        pooler.console(f"KILL_CLIENT {row['id']}")
        killed.read_error()
        assert killed.is_closed()
        killed.socket.close()
        other.execute("SELECT 'go on'")
        assert values(stays) == [b"thought"]
        assert values(stays) == [b"next"]
        stays.socket.close()
        assert thinking(other) == 0
        assert "Traceback" not in pooler.log_text()


SLOW = """
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    async def rewrite_query(username, query, in_transaction):
        if "which" in query:
            await deferLater(reactor, 0.5, lambda: None)
            return "SELECT 'old'"
"""


@pytest.mark.parametrize("how", ["RELOAD", "SIGHUP", "off"])
def test_a_reload_while_a_rule_thinks(
    rewriting: Make, directory: Path, how: str
) -> None:
    """The old rule's answer is for the query it was asked about, no other."""
    pooler = rewriting(SLOW)
    path = directory / "rewrite_query.py"
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("SELECT 'which'") + query("SELECT 'which'"))
        path.write_text("def rewrite_query(u, q, t): return 'SELECT 1 AS new'")
        if how == "SIGHUP":
            pooler.send(signal.SIGHUP)
        elif how == "RELOAD":
            pooler.console("RELOAD")
        else:
            pooler.console("SET rewrite_query_py_module_file = 'not_enabled'")
        assert values(client) == [b"old"]
        assert values(client) == [b"which" if how == "off" else b"1"]


RAISING = """
    class Mute(Exception):
        def __str__(self):
            raise ValueError

    async def later(kind):
        raise kind

    def rewrite_query(username, query, in_transaction):
        kinds = {k.__name__: k for k in (KeyboardInterrupt, SystemExit, GeneratorExit)}
        kind = {**kinds, "Mute": Mute}.get(query.rpartition("--")[2])
        if kind is None:
            return None
        if "later" in query:
            return later(kind)
        raise kind
"""


def test_exceptions_that_end_other_programs(
    rewriting: Callable[..., PgSwitch],
) -> None:
    """Each is a failure of the rule; a real Ctrl-C still ends the process."""
    pooler = rewriting(RAISING)
    with RawClient(pooler.port) as client:
        client.log_in()
        for kind in ("KeyboardInterrupt", "SystemExit", "GeneratorExit", "Mute"):
            for when in ("now", "later"):
                client.send(query(f"SELECT '{when}' --{kind}"))
                assert values(client) == [when.encode()]
            pooler.wait_for_log(f"rewrite_query failed: {kind}")
        client.send(query("SELECT 'at last'"))
        assert values(client) == [b"at last"]
    pooler.child.send(signal.SIGINT)
    assert pooler.child.wait(10) == 0
