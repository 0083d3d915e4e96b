"""Rules of the user's, as clients notice them: where a query runs, and as what."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import asyncpg
import psycopg
import psycopg.errors
import pytest

from pgswitch.demo.postgres import Installation, PostgresServer
from pgswitch.demo.processes import ChildFailed
from tests.fakes.messages import query
from tests.integration.running import PASSWORDS, PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True

EXAMPLES = Path(__file__).parents[2] / "examples" / "rules"
BENCH = Path(__file__).parents[2] / "bench"


def example(name: str) -> str:
    """Return the text of a file of rules that we ship."""
    return (EXAMPLES / name).read_text(encoding="ascii")


TABLES = example("routing_rules.py")
"""Each table is on one server only."""

SEED = (BENCH / "rules.py").read_text(encoding="ascii")
"""A table of expressions as in the README of pgbouncer-fast-switchover."""

Make = Callable[..., PgSwitch]


@pytest.fixture(scope="session")
def tables(postgres: PostgresServer) -> Iterator[None]:
    """Have tablea in one database and tableb in the other."""
    for database, table in (("bench", "tablea"), ("other", "tableb")):
        postgres.execute(
            f"CREATE TABLE {table} AS SELECT current_database() AS place, 1 AS id",
            database=database,
        )
        postgres.execute(f"GRANT ALL ON {table} TO PUBLIC", database=database)
    yield
    for database, table in (("bench", "tablea"), ("other", "tableb")):
        postgres.execute(f"DROP TABLE {table}", database=database)


@pytest.fixture
def make(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, directory: Path, tables: None
) -> Make:
    """Return what starts pgswitch with rules: dev.1 is bench, dev.2 is other."""

    def started(
        routing: str = "", rewriting: str = "", **settings: str | float
    ) -> PgSwitch:
        for name, text in (("routing_rules", routing), ("rewrite_query", rewriting)):
            if text:
                settings[f"{name}_py_module_file"] = str(write(directory, name, text))
        place = f"host=127.0.0.1 port={postgres.port}"
        databases = {
            "bench": f"{place} dbname=bench",
            "dev.1": f"{place} dbname=bench",
            "dev.2": f"{place} dbname=other",
        }
        pooler = pgswitch(databases, start=False)
        usual: dict[str, str | float] = {
            "pool_mode": "transaction",
            "default_pool_size": 3,
        }
        pooler.configure(databases, {**usual, **settings})
        pooler.start()
        return pooler

    return started


def write(directory: Path, name: str, text: str) -> Path:
    """Write a file of rules that is world-readable."""
    directory.chmod(0o755)
    path = directory / f"{name}.py"
    path.write_text(dedent(text))
    return path


def places(connection: psycopg.Connection, *tables: str) -> list[str]:
    """Return which database each table was read in."""
    rows = [
        connection.execute(f"SELECT place FROM {table}".encode()).fetchone()
        for table in tables
    ]
    return [row[0] for row in rows if row is not None]


@pytest.mark.parametrize(
    ("mode", "routing"),
    [
        ("session", TABLES),
        ("transaction", SEED),
        ("statement", TABLES.replace(", in_transaction", "")),
    ],
    ids=["as an if", "as a table of expressions", "with two arguments"],
)
def test_two_tables(make: Make, mode: str, routing: str) -> None:
    """One session reads tables of two servers, and stays where it was last sent."""
    pooler = make(routing, pool_mode=mode)
    with pooler.connect() as connection:
        assert places(connection, "tablea", "tableb", "tableb", "tablea") == [
            *("bench", "other", "other", "bench")
        ]
        assert places(connection, "tableb") == ["other"]
        row = connection.execute("SELECT current_database()").fetchone()
        assert row == ("other",)
    rows = {row["rule"]: row for row in pooler.console("SHOW RULES")}
    assert rows["routing_rules"]["calls"] == 6
    assert rows["routing_rules"]["moves"] == 4


def test_pgbench(make: Make, installation: Installation, directory: Path) -> None:
    """In every protocol, with transactions; what is prepared goes where it belongs."""
    pooler = make(TABLES)
    script = directory / "script"
    script.write_text(
        "SELECT id FROM tablea WHERE id = 1;\nSELECT id FROM tableb WHERE id = 1;\n"
        "BEGIN;\nSELECT id FROM tableb;\nSELECT 1;\nCOMMIT;\n"
    )
    for protocol in ("simple", "extended", "prepared"):
        finished = subprocess.run(
            [
                installation.program("pgbench"),
                *("-h", "127.0.0.1", "-p", str(pooler.port), "-U", "scram", "-n"),
                *("-c", "6", "-j", "6", "-t", "40", "-M", protocol),
                *("-f", str(script), "bench"),
            ],
            env={**os.environ, "PGPASSWORD": PASSWORDS["scram"]},
            capture_output=True,
            check=False,
            text=True,
            timeout=30,
        )
        assert finished.returncode == 0, finished.stderr
        assert "processed: 240/240" in finished.stdout


def test_a_routing_table(make: Make) -> None:
    """A table of expressions, user names among them."""
    pooler = make(example("routing_table.py"))
    with pooler.connect() as connection:
        assert places(connection, "tableb", "tablea") == ["other", "bench"]
    with (
        pooler.connect("md5") as connection,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        places(connection, "tableb")


STORES = "SELECT storename, SUM(total) FROM {} GROUP BY storename ORDER BY storename"
PRODUCTS = "SELECT prodname, SUM(total) FROM {} GROUP BY prodname ORDER BY prodname"


def test_pre_aggregated_tables(make: Make) -> None:
    """Reports about the big table are answered from the small ones, unchanged."""
    pooler = make("", example("rewrite_query.py"))
    with pooler.connect() as connection:
        connection.execute(
            "CREATE TABLE store AS SELECT 1 AS storeid, 'Soho' AS storename;"
            "CREATE TABLE product AS SELECT 7 AS productid, 'tea' AS prodname;"
            "CREATE TABLE sales AS SELECT 1 AS storeid, 7 AS productid, 10 AS total"
            " FROM generate_series(1, 100);"
            "CREATE TABLE store_sales AS SELECT 'Soho' AS storename, 1000 AS total;"
            "CREATE TABLE product_sales AS SELECT 'tea' AS prodname, 1000 AS total"
        )
        try:
            for text, name, table in (
                (STORES.format("sales JOIN store USING (storeid)"), "Soho", "store"),
                (
                    PRODUCTS.format("sales JOIN product USING (productid)"),
                    "tea",
                    "product",
                ),
            ):
                # psycopg prepares a statement by itself when it has come five times.
                for prepare in (False, True, *[None] * 6):
                    rows = connection.execute(text.encode(), prepare=prepare).fetchall()
                    assert rows == [(name, 1000)]
                plan = connection.execute(f"EXPLAIN {text}".encode()).fetchall()
                assert "Join" in str(plan), "a text that the function leaves alone"
                # What tells the tables apart: only the small one has this row.
                connection.execute(f"UPDATE {table}_sales SET total = 5".encode())
                for prepare in (False, None):
                    rows = connection.execute(text.encode(), prepare=prepare).fetchall()
                    assert rows == [(name, 5)]
        finally:
            connection.execute(
                "DROP TABLE store, product, sales, store_sales, product_sales"
            )


def test_a_blocked_query(make: Make) -> None:
    """The client reads the warning as the result of what it asked."""
    pooler = make("", example("scan_limiter.py"))
    with pooler.connect() as connection:
        cursor = connection.execute("SELECT * FROM v_all_sales")
        assert cursor.description is not None
        assert cursor.description[0].name == "alert"
        row = cursor.fetchone()
        assert row is not None
        assert row[0].startswith("WARNING: scans against v_all_sales")
        assert connection.execute("SELECT 1").fetchone() == (1,)


ONCE = """
    seen = []

    def rewrite_query(username, query, in_transaction):
        seen.append(query)
        if query.startswith("SELECT 'how often'"):
            return f"SELECT {len(seen)}, {sum(map(len, seen))}"
        return query.replace("needle", "thread")
"""


def test_a_long_query(make: Make) -> None:
    """16 MB come whole, are rewritten whole, and the function runs once."""
    # SEED searches for ".*x": in time quadratic to the length, by Python's re.
    pooler = make(SEED, ONCE, rules_fast_patterns=1)
    size = 16 * 1024 * 1024
    text = "SELECT '" + "x" * size + "needle' AS value"
    with pooler.connect() as connection:
        row = connection.execute(text.encode()).fetchone()
        assert row is not None
        assert row[0] == "x" * size + "thread"
        row = connection.execute("SELECT 'how often'").fetchone()
        assert row == (2, len(text) + len("SELECT 'how often'"))


def test_once_for_a_client_that_waits(make: Make) -> None:
    """A query is judged when it comes, not again when a server is free."""
    pooler = make("", ONCE, default_pool_size=1)
    with pooler.connect() as holder, pooler.connect() as waiter:
        with holder.transaction():
            holder.execute("SELECT 1")
            waiter.pgconn.send_query(b"SELECT 'needle'")
            wait_until(
                lambda: any(row["cl_waiting"] for row in pooler.console("SHOW POOLS")),
                "the client to wait",
            )
        result = waiter.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"thread"
        assert waiter.pgconn.get_result() is None
        row = holder.execute("SELECT 'how often'").fetchone()
        assert row is not None
        assert row[0] == 5, "BEGIN, SELECT 1, needle, COMMIT and this"


def test_latin1(make: Make) -> None:
    """Bytes of another encoding come through, whether the text is changed or not."""
    pooler = make("", "def rewrite_query(u, q, t): return q.replace('tea', 'café')")
    with pooler.connect(client_encoding="LATIN1") as connection:
        for text in ("SELECT 'déjà', 'tea', length('ü')", "SELECT 'déjà', 'café', 1"):
            row = connection.execute(text).fetchone()
            assert row == ("déjà", "café", 1)
    with pooler.connect() as connection:
        connection.execute("SET client_encoding TO 'LATIN1'")
        row = connection.execute("SELECT length('tea ü')").fetchone()
        assert row == (6,)


def test_another_server_inside_a_transaction(make: Make) -> None:
    """All of a transaction happens on one server, or none of it."""
    pooler = make(TABLES)
    for policy, expected in (
        ("refuse", psycopg.errors.ActiveSqlTransaction),
        ("ignore", psycopg.errors.UndefinedTable),
    ):
        pooler.console(f"SET rules_reroute_in_transaction = {policy}")
        with pooler.connect() as connection:
            assert places(connection, "tablea") == ["bench"]
            connection.execute("BEGIN")
            connection.execute("INSERT INTO tablea VALUES ('amid', 2)")
            with pytest.raises(expected) as raised:
                places(connection, "tableb")
            if policy == "refuse":
                text = str(raised.value)
                assert "routing_rules" in text
                assert '"dev.2"' in text
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                places(connection, "tablea")
            connection.execute("COMMIT")
            row = connection.execute("SELECT count(*) FROM tablea").fetchone()
            assert row == (1,)
            assert places(connection, "tableb") == ["other"], "outside it may go"


def test_refused_in_each_protocol(make: Make) -> None:
    """A named Parse, and the Bind of a statement whose Parse was sent elsewhere."""
    pooler = make(TABLES)
    with pooler.connect() as connection:
        connection.execute("SELECT place FROM tableb", prepare=True)
        places(connection, "tablea")
        for text in ("SELECT place FROM tableb", "SELECT id FROM tableb"):
            with connection.transaction(force_rollback=True):
                connection.execute("SELECT place FROM tablea", prepare=True)
                with pytest.raises(psycopg.errors.ActiveSqlTransaction):
                    connection.execute(text.encode(), prepare=True)
            row = connection.execute(text.encode(), prepare=True).fetchone()
            assert row in {("other",), (1,)}
            places(connection, "tablea")


def test_pipelines(make: Make) -> None:
    """Answers come in the order asked, from any server, with a Sync between."""
    pooler = make(TABLES)
    with pooler.connect() as connection, connection.pipeline() as pipeline:
        cursors = []
        for table in ("tablea", "tableb", "tableb", "tablea"):
            cursors.append(connection.execute(f"SELECT place FROM {table}".encode()))
            pipeline.sync()
        found = [row[0] for cursor in cursors for row in cursor.fetchall()]
        assert found == ["bench", "other", "other", "bench"]


def test_a_move_inside_a_pipeline(make: Make) -> None:
    """What no Sync divides is one transaction, and is skipped to the Sync as one."""
    pooler = make(TABLES)
    with pooler.connect() as connection:
        with (
            pytest.raises(psycopg.errors.ActiveSqlTransaction),
            connection.pipeline(),
        ):
            connection.execute("INSERT INTO tablea VALUES ('piped', 3)")
            connection.execute("SELECT place FROM tableb")
            connection.execute("SELECT place FROM tablea")
        assert places(connection, "tablea") == ["bench"]
        row = connection.execute("SELECT count(*) FROM tablea").fetchone()
        assert row == (1,)


def test_queries_sent_ahead(make: Make) -> None:
    """Simple queries sent at once: each waits for the one before, none is lost."""
    pooler = make(TABLES, auth_type="trust")
    with RawClient(pooler.port) as client:
        client.log_in()
        texts = ["SELECT place FROM tablea", "SELECT place FROM tableb", "SELECT 7"]
        for cut in (0, 3, 40):
            data = b"".join(query(text) for text in texts)
            for piece in (data[:cut], data[cut:]):
                client.send(piece)
            found = []
            for _ in texts:
                rows = [body for kind, body in client.read_until(b"Z") if kind == b"D"]
                found += [row[6:] for row in rows]
            assert found == [b"bench", b"other", b"7"]


def test_asyncpg(make: Make) -> None:
    """Its statements are prepared once and used on whichever server they belong to."""
    pooler = make(TABLES)

    async def run() -> list[str]:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=pooler.port,
            user="scram",
            password=PASSWORDS["scram"],
            database="bench",
        )
        found = []
        for _ in range(3):
            found += [
                await connection.fetchval(f"SELECT place FROM {table} WHERE id = $1", 1)
                for table in ("tablea", "tableb")
            ]
        async with connection.transaction():
            found.append(await connection.fetchval("SELECT place FROM tableb"))
        await connection.close()
        return found

    assert asyncio.run(run()) == ["bench", "other"] * 3 + ["other"]


def test_parameters_follow(make: Make) -> None:
    """What a client has set is set on the server that it is moved to."""
    pooler = make(TABLES)
    with pooler.connect() as connection:
        connection.execute(
            "SET application_name = 'traveller'; SET timezone = 'Asia/Tokyo'"
        )
        for table in ("tableb", "tablea"):
            row = connection.execute(
                f"SELECT current_setting('application_name'),"
                f" current_setting('timezone') FROM {table}".encode()
            ).fetchone()
            assert row == ("traveller", "Asia/Tokyo")


def test_a_forced_user(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, directory: Path, tables: None
) -> None:
    """The target's own user, password and pool mode hold, and its pool's size."""
    place = f"host=127.0.0.1 port={postgres.port}"
    pooler = pgswitch(
        {
            "bench": f"{place} dbname=bench",
            "dev.2": f"{place} dbname=other user=md5 password=md5-secret"
            " pool_mode=statement pool_size=1",
        },
        pool_mode="session",
        routing_rules_py_module_file=str(write(directory, "routing_rules", TABLES)),
    )
    with pooler.connect() as one, pooler.connect() as two:
        for connection in (one, two, one):
            row = connection.execute(
                "SELECT current_user, place FROM tableb"
            ).fetchone()
            assert row == ("md5", "other")
        rows = [r for r in pooler.console("SHOW POOLS") if r["database"] == "dev.2"]
        assert [(r["user"], r["pool_mode"]) for r in rows] == [("md5", "statement")]
        assert rows[0]["sv_idle"] + rows[0]["sv_active"] == 1
        with pytest.raises(psycopg.OperationalError, match="transaction blocks"):
            one.execute("BEGIN")


UNKNOWN = "def routing_rules(u, q, t): return 'nowhere' if 'x' in q else 'dev.2:reader'"


def test_keys(make: Make) -> None:
    """An unknown key is logged and counted, the client stays; a role is accepted."""
    pooler = make(UNKNOWN)
    with pooler.connect() as connection:
        for _ in range(3):
            row = connection.execute("SELECT current_database() AS x").fetchone()
            assert row == ("bench",)
        row = connection.execute("SELECT current_database()").fetchone()
        assert row == ("other",)
    assert pooler.console("SHOW RULES")[0]["unknown"] == 3
    assert pooler.log_text().count("nonexistent database key 'nowhere'") == 1


WAITING = """
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    async def routing_rules(username, query, in_transaction):
        if "sleep" in query:
            await deferLater(reactor, 0.5, lambda: None)
            return "dev.2"
        if "never" in query:
            await deferLater(reactor, 3600, lambda: None)

    def rewrite_query(username, query, in_transaction, context):
        if "context" in query:
            return f"SELECT '{context.database} {context.protocol}'"
        return deferLater(reactor, 0.01, lambda: None) if "later" in query else None
"""


def test_functions_that_wait(make: Make) -> None:
    """Only the client that asked waits; rules_timeout ends what takes too long."""
    pooler = make(WAITING, WAITING, rules_timeout=1)
    with pooler.connect() as slow, pooler.connect() as quick:
        slow.pgconn.send_query(b"SELECT current_database() /* sleep, later */")
        rows = [quick.execute("SELECT 1").fetchone() for _ in range(20)]
        assert rows == [(1,)] * 20
        slow.pgconn.flush()
        result = slow.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"other"
        assert slow.pgconn.get_result() is None
        assert quick.execute("SELECT 'never'").fetchone() == ("never",)
        row = quick.execute("SELECT 'context'").fetchone()
        assert row == ("bench simple",)
    assert "no answer for 1 s" in pooler.log_text()


BROKEN = """
    def rewrite_query(username, query, in_transaction):
        bad = query.rpartition("=")[2].strip()
        if bad == "raise":
            return 1 / 0
        if bad == "exit":
            raise SystemExit(3)
        answers = {"number": 7, "nothing": "", "nul": "SELECT 1\\0", "lone": "\\udc80"}
        return answers.get(bad)
"""
FAULTS = ("raise", "exit", "number", "nothing", "nul", "lone")


def test_failures(make: Make) -> None:
    """The original is sent, or the client gets an error and is closed; no crash."""
    pooler = make("", BROKEN)
    with pooler.connect() as connection:
        for fault in FAULTS:
            row = connection.execute(f"SELECT 5 -- ={fault}".encode()).fetchone()
            assert row == (5,)
    (shown,) = pooler.console("SHOW RULES")
    assert shown["errors"] == len(FAULTS)
    log = pooler.log_text()
    assert "ZeroDivisionError: division by zero" in log
    assert "rewrite_query.py, line 5)" in log


def test_failures_that_disconnect(make: Make) -> None:
    """The other policy, with an error that says why."""
    pooler = make("", BROKEN, rewrite_query_disconnect_on_failure="true")
    with pooler.connect() as other:
        for fault in FAULTS:
            with pooler.connect() as connection:
                assert connection.execute("SELECT 5").fetchone() == (5,)
                with pytest.raises(
                    psycopg.OperationalError, match="rewrite_query failed"
                ):
                    connection.execute(f"SELECT 5 -- ={fault}".encode())
                assert connection.closed
        assert other.execute("SELECT 6").fetchone() == (6,)


def test_a_bad_file_at_the_start(pgswitch: PgSwitchFactory, directory: Path) -> None:
    """The process ends with status 1, and its log says why."""
    path = write(directory, "rewrite_query", "import nothing_here")
    pooler = pgswitch(start=False, rewrite_query_py_module_file=str(path))
    with pytest.raises(ChildFailed):
        pooler.start()
    log = pooler.log_text()
    assert "No module named 'nothing_here'" in log
    assert "FATAL cannot load rules" in log
    # Or the traceback in it would be taken for one of pgswitch.
    pooler.log_path.unlink()


def test_reload(make: Make, directory: Path) -> None:
    """Changed files are read again, their neighbours too; bad ones change nothing."""
    write(directory, "words", "NEW = 'one'")
    text = """
        from words import NEW
        calls = []
        def rewrite_query(username, query, in_transaction):
            calls.append(query)
            return query.replace("word", NEW).replace("count", str(len(calls)))
    """
    pooler = make("", text)

    def said(connection: psycopg.Connection) -> object:
        return connection.execute("SELECT 'word', 'count'").fetchone()

    with pooler.connect() as connection:
        assert said(connection) == ("one", "1")
        pooler.console("RELOAD")
        assert said(connection) == ("one", "2"), "nothing has changed, nor has state"
        digest = pooler.console("SHOW RULES")[0]["digest"]
        write(directory, "words", "NEW = 'two'")
        pooler.console("RELOAD")
        assert said(connection) == ("two", "1")
        assert pooler.console("SHOW RULES")[0]["digest"] != digest
        write(directory, "words", "NEW = 1 +")
        with pytest.raises(psycopg.Error, match="RELOAD failed"):
            pooler.console("RELOAD")
        assert said(connection) == ("two", "2")
        assert "SyntaxError: invalid syntax" in pooler.log_text()
        pooler.log_path.unlink()
        with pytest.raises(psycopg.Error, match="SET failed"):
            pooler.console("SET rewrite_query_py_module_file = '/nowhere.py'")
        pooler.console("SET rewrite_query_py_module_file = 'not_enabled'")
        assert said(connection) == ("word", "count")


def test_targets_that_do_not_answer(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, directory: Path
) -> None:
    """Clients sent there get an error in time; the others notice nothing."""
    path = write(directory, "routing_rules", TABLES)
    with socket.socket() as refusing, socket.socket() as silent:
        for target in (refusing, silent):
            target.bind(("127.0.0.1", 0))
        silent.listen()
        pooler = pgswitch(
            {
                "bench": f"host=127.0.0.1 port={postgres.port}",
                "dev.1": f"host=127.0.0.1 port={refusing.getsockname()[1]}",
                "dev.2": f"host=127.0.0.1 port={silent.getsockname()[1]}",
            },
            pool_mode="transaction",
            auth_type="trust",
            routing_rules_py_module_file=str(path),
            query_wait_timeout=1,
        )
        with (
            RawClient(pooler.port) as one,
            RawClient(pooler.port) as two,
            pooler.connect() as other,
        ):
            for client, table in ((one, "tablea"), (two, "tableb")):
                client.log_in()
                client.send(query(f"SELECT place FROM {table}"))
            assert other.execute("SELECT 1").fetchone() == (1,)
            for client in (one, two):
                assert client.read_error()["M"] == "query_wait_timeout"
                assert client.is_closed()
            assert other.execute("SELECT 1").fetchone() == (1,)
