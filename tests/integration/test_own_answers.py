"""Each client gets what is its own: answers, statements, the session's parameters.

Scripts of raw messages run on one server that others use meanwhile, and once more on
PostgreSQL itself; every message that comes back must be the same, but for places in
its sources that an error names.
"""

from __future__ import annotations

import re
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pgswitch.demo.postgres import PostgresServer
from testkit.pgwire import error_fields, startup
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True
SYNC, FLUSH, DONE = message(b"S"), message(b"H"), message(b"c")
TERMINATE = message(b"X")
FENCE = query("SELECT 'fence'")
QUIET_S = 5.0
LOST_SERVER = re.compile(r"S-\S+ \S+ closing because: ")
PAUSE_S = 0.03
"""How long a client is silent before it sends the next part of a script."""


def parse(text: str, name: str = "") -> bytes:
    """Return a Parse."""
    return message(b"P", f"{name}\0{text}\0".encode() + bytes(2))


def bind(name: str = "", portal: str = "") -> bytes:
    """Return a Bind without parameters."""
    return message(b"B", f"{portal}\0{name}\0".encode() + bytes(6))


def execute(portal: str = "") -> bytes:
    """Return an Execute of all rows."""
    return message(b"E", f"{portal}\0".encode() + bytes(4))


def describe(name: str) -> bytes:
    """Return a Describe of a statement."""
    return message(b"D", f"S{name}\0".encode())


def close(name: str) -> bytes:
    """Return a Close of a statement."""
    return message(b"C", f"S{name}\0".encode())


def data(row: str) -> bytes:
    """Return a CopyData."""
    return message(b"d", row.encode())


def run(text: str) -> bytes:
    """Return a whole query of the extended protocol."""
    return parse(text) + bind() + execute() + SYNC


COPY = parse("COPY numbers FROM STDIN") + bind() + execute()
MISSING = execute("missing")

SCRIPTS = {
    "a Sync behind a CopyData that is refused": [
        query("COPY numbers FROM STDIN"),
        data("x\n") + SYNC,
    ],
    "libpq's shape, refused by the table": [
        parse("COPY picky FROM STDIN") + bind() + execute() + SYNC,
        data("1\n") + DONE + SYNC,
    ],
    "libpq's shape, refused for a row": [COPY + SYNC, data("x\n") + DONE + SYNC],
    "libpq's shape, all sent ahead": [COPY + SYNC + data("x\n") + DONE + SYNC],
    "libpq's shape, given up": [COPY + SYNC, message(b"f", b"no\0") + SYNC],
    "libpq's shape into a view": [
        parse("COPY seen FROM STDIN") + bind() + execute() + SYNC + DONE + SYNC,
    ],
    "queries behind a COPY that is refused at once": [
        query("COPY picky FROM STDIN") + SYNC + query("SELECT 'a'") * 2,
    ],
    "the CopyDone of the second COPY": [
        query("COPY numbers FROM STDIN")
        + data("x\n")
        + query("COPY numbers FROM STDIN")
        + data("7\n")
        + DONE
        + query("SELECT 'own'"),
    ],
    "a COPY that is carried out": [COPY + SYNC + data("5\n") + DONE + SYNC],
    "two in one Query": [
        query("COPY numbers FROM STDIN; COPY numbers FROM STDIN"),
        DONE + DONE,
        SYNC,
    ],
    "a name that an error has kept from being introduced": [
        MISSING
        + parse("SELECT 'A'", "s")
        + SYNC
        + parse("SELECT 'B'", "s")
        + bind("s")
        + execute()
        + SYNC,
        bind("s") + execute() + SYNC,
    ],
    "the same where only one statement may stay": [
        parse("SELECT 'a'", "a") + SYNC,
        MISSING + parse("SELECT 'b'", "b") + SYNC + bind("a") + execute() + SYNC,
        bind("a") + execute() + SYNC,
    ],
    "DEALLOCATE ALL ahead of a Parse": [
        parse("SELECT 'x'", "x") + SYNC,
        query("DEALLOCATE ALL")
        + parse("SELECT 'y'", "x")
        + bind("x")
        + execute()
        + SYNC,
        bind("x") + execute() + SYNC,
    ],
    "DISCARD ALL ahead of a Parse": [
        parse("SELECT 'x'", "x") + SYNC,
        query("DISCARD ALL") + parse("SELECT 'x'", "x") + bind("x") + execute() + SYNC,
        bind("x") + execute() + SYNC,
    ],
    "a PREPARE that fails, then what goes by its name": [
        query("PREPARE p AS SELECT nothing")
        + query("EXECUTE p")
        + query("DEALLOCATE p"),
    ],
    "a PREPARE in a Parse that fails": [
        MISSING + parse("PREPARE p AS SELECT 1") + bind() + execute() + SYNC,
        query("PREPARE p AS SELECT 'mine'") + query("EXECUTE p"),
    ],
    "a PREPARE that is bound, not executed": [
        parse("PREPARE p AS SELECT 1") + bind() + SYNC,
        query("PREPARE p AS SELECT 'mine'"),
        query("EXECUTE p"),
    ],
    "a PREPARE with a backslash, beside another statement, behind a comment": [
        query("PREPARE p AS SELECT 'a\\'"),
        query("SELECT 1; PREPARE q AS SELECT 'q'"),
        query("/* first /* and */ */ PREPARE r AS SELECT 'r'"),
        query("-- led\n EXECUTE p") + query("EXECUTE q; EXECUTE r"),
    ],
    "one name space": [
        query("PREPARE p AS SELECT 'sql'") + bind("p") + execute() + SYNC,
        parse("SELECT 'protocol'", "q") + SYNC + query("EXECUTE q"),
        parse("SELECT 'twice'", "p") + SYNC,
        query("PREPARE q AS SELECT 'twice'"),
        close("p") + describe("p") + SYNC,
        query("DEALLOCATE q") + query("EXECUTE q"),
    ],
    "a transaction that has failed": [
        parse("SELECT 'x'", "x") + SYNC + query("PREPARE p AS SELECT 'p'"),
        query("BEGIN") + query("SELECT nothing"),
        parse("SELECT 'x'", "y") + SYNC + bind("x") + execute() + SYNC,
        query("ROLLBACK; EXECUTE p"),
    ],
    "an unnamed Bind that nothing was parsed for": [bind() + execute() + SYNC],
    "an unnamed Parse that was skipped": [
        MISSING + parse("SELECT 'skipped'") + SYNC + bind() + execute() + SYNC,
    ],
    "names that the pooler uses": [bind("PGBOUNCER_1") + execute() + SYNC],
    "Query and Terminate": [query("SELECT 'last'") + TERMINATE],
    "a Sync and Terminate": [run("SELECT 'last'") + TERMINATE],
}


REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$BEGIN RAISE 'refused'; END$$
"""


@pytest.fixture
def tables(postgres: PostgresServer) -> Iterator[None]:
    """Make a table of numbers, one that refuses what is copied into it, and a view."""
    for text in (
        "CREATE TABLE numbers (n int)",
        "CREATE TABLE picky (n int)",
        "CREATE VIEW seen AS SELECT * FROM numbers",
        REFUSE,
        "CREATE TRIGGER t BEFORE INSERT ON picky EXECUTE FUNCTION refuse()",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC",
    ):
        postgres.execute(text, database="bench")
    yield
    for text in ("TABLE numbers CASCADE", "TABLE picky", "FUNCTION refuse"):
        postgres.execute(f"DROP {text}", database="bench")


def heard(client: RawClient, script: list[bytes], size: int) -> list[str]:
    """Return what comes back for a script, in pieces of so many bytes; 0: whole."""
    lines: list[str] = []
    for group in script:
        for at in range(0, len(group), size or len(group)):
            client.send(group[at : at + (size or len(group))])
        while select.select([client.socket], [], [], PAUSE_S)[0]:
            try:
                lines.append(_line(*client.read_message()))
            except EOFError:
                return [*lines, "closed"]
    if script[-1].endswith(TERMINATE):
        with suppress(EOFError):
            while True:
                lines.append(_line(*client.read_message()))
        return [*lines, "closed"]
    client.send(SYNC + FENCE)
    while not lines or "fence" not in lines[-1]:
        lines.append(_line(*client.read_message()))
    return [line for line in lines if line[0] not in "NS"]


def _line(kind: bytes, body: bytes) -> str:
    if kind == b"E":
        fields = error_fields(body)
        return f"E {fields['S']} {fields['C']} {fields['M']}"
    return f"{kind.decode()} {body!r}" if kind in b"CDZGIH" else kind.decode()


def directly(postgres: PostgresServer) -> RawClient:
    """Return a client of the server itself."""
    client = RawClient(postgres.port)
    client.send(startup("user", "trusted", "database", "bench"))
    client.read_until(b"Z")
    return client


class Neighbour:
    """A client that uses the same server between all that the other one does."""

    def __init__(self, pooler: PgSwitch) -> None:
        """Connect; name statements as the other one does, with other texts."""
        self.client = RawClient(pooler.port)
        self.client.log_in()
        self.client.socket.settimeout(QUIET_S)
        self.count = 0
        for name in "abpqsxy":
            self.client.send(parse(f"SELECT 'foreign {name}'", name))
        self.client.send(SYNC + run("SELECT 'foreign unnamed'"))
        for _ in range(2):
            self.client.read_until(b"Z")

    def look(self) -> None:
        """Send a query, and return the answer to just that."""
        self.count += 1
        self.client.send(query(f"SELECT 'neighbour {self.count}'"))
        answer = self.client.read_until(b"Z")
        assert [kind for kind, _ in answer] == [b"T", b"D", b"C", b"Z"]
        assert f"neighbour {self.count}".encode() in answer[1][1]
        self.client.send(bind("s") + execute() + SYNC)
        assert b"foreign s" in self.client.read_until(b"Z")[1][1]


@pytest.mark.parametrize("prepared", [1, 100])
@pytest.mark.parametrize("size", [0, 1, 7])
def test_as_if_alone(
    pgswitch: PgSwitchFactory,
    postgres: PostgresServer,
    tables: None,
    size: int,
    prepared: int,
) -> None:
    """Whatever a script does, its answers are PostgreSQL's, and its neighbour's too."""
    pooler = pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
        max_prepared_statements=prepared,
    )
    neighbour = Neighbour(pooler)
    with neighbour.client:
        _play_beside(neighbour, postgres, pooler, size)
    assert "when nothing was asked" not in pooler.log_text()
    assert "when not linked" not in pooler.log_text()


def _play_beside(
    neighbour: Neighbour, postgres: PostgresServer, pooler: PgSwitch, size: int
) -> None:
    for name, script in SCRIPTS.items():
        with directly(postgres) as alone, RawClient(pooler.port) as shared:
            shared.log_in()
            expected = heard(alone, script, 0)
            assert heard(shared, script, size) == expected, name
        neighbour.look()


def test_no_statement_stays_under_a_clients_name(pgswitch: PgSwitchFactory) -> None:
    """A statement prepared by SQL is not there for the next client, in any way."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction", default_pool_size=1)
    with RawClient(pooler.port) as one, RawClient(pooler.port) as two:
        one.log_in()
        two.log_in()
        for text in (
            "PREPARE mine AS SELECT 'secret'",
            "/**/ PREPARE mine2 AS SELECT 'secret'",
            "SELECT 1; PREPARE mine3 AS SELECT 'secret'",
            "PREPARE mine4 AS SELECT E'\\'secret'",
        ):
            one.send(query(text))
            assert one.read_until(b"Z")[-1][1] == b"I"
        for number, name in enumerate(("mine", "mine2", "mine3", "mine4")):
            for sent in (query(f"EXECUTE {name}"), bind(name) + execute() + SYNC):
                two.send(sent)
                assert two.read_error()["C"] == "26000", name
                two.read_until(b"Z")
            two.send(query(f"PREPARE {name} AS SELECT {number}"))
            assert two.read_until(b"Z")[0][0] == b"C", name


def test_a_server_that_forgot(pgswitch: PgSwitchFactory) -> None:
    """Statements dropped out of our sight cost one error, not one for each client."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction", default_pool_size=1)
    with RawClient(pooler.port) as one, RawClient(pooler.port) as two:
        for client in (one, two):
            client.log_in()
            client.send(parse("SELECT 'kept'", "kept") + SYNC)
            client.read_until(b"Z")
        one.send(query("DO $$BEGIN EXECUTE 'DEALLOCATE ALL'; END$$"))
        one.read_until(b"Z")
        two.send(bind("kept") + execute() + SYNC)
        error = two.read_error()
        assert (error["C"], "PGBOUNCER" in error["M"]) == ("26000", False)
        assert error["M"] == 'prepared statement "kept" does not exist'
        two.read_until(b"Z")
        for client in (one, two, one):
            client.send(bind("kept") + execute() + SYNC)
            assert b"kept" in client.read_until(b"Z")[1][1]
    pooler.wait_for_log("server refutes its prepared statements")


def test_a_changed_table(pgswitch: PgSwitchFactory, tables: None) -> None:
    """A driver that closes and prepares again gets a new plan."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction", default_pool_size=1)
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("CREATE TABLE changing AS SELECT 1 AS a"))
        client.read_until(b"Z")
        used = parse("SELECT * FROM changing", "s") + bind("s") + execute() + SYNC
        client.send(used)
        client.read_until(b"Z")
        client.send(query("ALTER TABLE changing ADD b int"))
        client.read_until(b"Z")
        client.send(bind("s") + execute() + SYNC)
        assert client.read_error()["C"] == "0A000"
        client.read_until(b"Z")
        client.send(close("s") + used)
        kinds = b"".join(kind for kind, _ in client.read_until(b"Z"))
        assert kinds == b"312DCZ"
        client.send(bind("s") + execute() + SYNC + query("DROP TABLE changing"))
        assert next(iter(client.read_until(b"Z")))[0] == b"2"
        client.read_until(b"Z")


ASKED = {
    "client_encoding": "LATIN1",
    "application_name": "asked",
    "DateStyle": "SQL, DMY",
}


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize(
    "reset",
    ["DISCARD ALL", "RESET ALL", "RESET client_encoding; RESET application_name"],
)
def test_a_reset_gives_what_was_asked_for(
    pgswitch: PgSwitchFactory, mode: str, reset: str
) -> None:
    """The values of the start-up packet, not the server's own."""
    pooler = pgswitch(auth_type="trust", pool_mode=mode, default_pool_size=1)
    with RawClient(pooler.port) as client:
        names = [part for item in ASKED.items() for part in item]
        client.send(startup("user", "trusted", "database", "bench", *names))
        client.read_until(b"Z")
        client.send(query("SET application_name = 'other'"))
        client.read_until(b"Z")
        client.send(query(reset))
        told = dict(
            body.decode("latin-1").split("\0")[:2]
            for kind, body in client.read_until(b"Z")
            if kind == b"S"
        )
        assert told == {"application_name": "asked"}
        for name, value in ASKED.items():
            client.send(query(f"SHOW {name}"))
            assert client.read_until(b"Z")[1][1][6:] == value.encode(), name


def test_a_parked_server_that_is_lost(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """No client gets a server that ends while a cancel request is under way."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction", default_pool_size=1)
    with RawClient(pooler.port) as client, RawClient(pooler.port) as next_one:
        client.send(startup("user", "trusted", "database", "bench"))
        key = dict(client.read_until(b"Z"))[b"K"]
        next_one.log_in()
        client.send(query("SELECT pg_sleep(0.2)"))
        with socket.create_connection(("127.0.0.1", pooler.port)) as canceller:
            canceller.sendall(struct.pack("!II", 16, 80877102) + key)
            client.read_until(b"Z")
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = 'bench' AND usename = 'trusted'"
        )
        # Which of its messages comes with its end is a matter of chance.
        wait_until(lambda: LOST_SERVER.search(pooler.log_text()), "the server to go")
        next_one.socket.settimeout(QUIET_S)
        next_one.send(query("SELECT 1"))
        next_one.read_until(b"Z")
