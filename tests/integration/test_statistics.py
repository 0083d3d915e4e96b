"""Each counter of SHOW STATS_TOTALS against what was really done."""

from __future__ import annotations

import pytest

from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True

Totals = dict[str, int]
SYNC = message(b"S")
EXECUTE = message(b"E", b"\0" + bytes(4))
NAP_S = 0.3


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pooler with one server."""
    return pgswitch(auth_type="trust", pool_mode="transaction", default_pool_size=1)


def parse(name: str, text: str) -> bytes:
    """Return a Parse."""
    return message(b"P", f"{name}\0{text}\0".encode() + bytes(2))


def bind(name: str) -> bytes:
    """Return a Bind of the unnamed portal."""
    return message(b"B", b"\0" + name.encode() + b"\0" + bytes(6))


def totals(pooler: PgSwitch) -> Totals:
    """Return the counters of the database."""
    rows = pooler.console("SHOW STATS_TOTALS")
    (row,) = (row for row in rows if row["database"] == "bench")
    return {name: int(value) for name, value in row.items() if name != "database"}


def waited(pooler: PgSwitch) -> float:
    """Return for how many seconds the first waiting client has been waiting."""
    rows = pooler.console("SHOW POOLS")
    (row,) = (row for row in rows if row["database"] == "bench")
    return float(row["maxwait"] + row["maxwait_us"] / 1e6)


class Measured:
    """A client, and what the counters made of what it did."""

    def __init__(self, pooler: PgSwitch) -> None:
        """Log in."""
        self.pooler = pooler
        self.client = RawClient(pooler.port)
        self.client.log_in()
        self._before = totals(pooler)

    def __enter__(self) -> RawClient:
        """Return the client."""
        return self.client

    def __exit__(self, *_error: object) -> None:
        """Leave."""
        self.client.socket.close()

    def changes(self) -> Totals:
        """Return the counters that have changed since the last call, times apart."""
        now = totals(self.pooler)
        changed = {
            name: value - self._before[name]
            for name, value in now.items()
            if value != self._before[name] and not name.endswith("_time")
        }
        self._before = now
        return changed

    def ask(self, data: bytes, answers: int = 1) -> Totals:
        """Send at once and await so many ReadyForQuery; return what has changed.

        The bytes of both ways must be those counted.
        """
        self.client.send(data)
        heard = [one for _ in range(answers) for one in self.client.read_until(b"Z")]
        changed = self.changes()
        assert changed.pop("bytes_received") == len(data)
        size = sum(5 + len(body) for _kind, body in heard)
        assert changed.pop("bytes_sent") == size
        return changed


def counted(
    servers: int = 0, transactions: int = 0, queries: int = 0, **more: int
) -> Totals:
    """Return counters, without those of nothing."""
    found = {
        "server_assignment_count": servers,
        "xact_count": transactions,
        "query_count": queries,
        **more,
    }
    return {name: value for name, value in found.items() if value}


def test_logins(pooler: PgSwitch) -> None:
    """They count, and nothing else about them does but the wait for a server."""
    with Measured(pooler):
        found = totals(pooler)
        assert found.pop("client_login_count") == 1
        found.pop("wait_time")
        assert set(found.values()) == {0}
    with Measured(pooler):
        assert totals(pooler)["client_login_count"] == 2


def test_simple_queries(pooler: PgSwitch) -> None:
    """Transactions, the queries in them, the servers they took."""
    measured = Measured(pooler)
    with measured:
        assert measured.ask(query("SELECT 1")) == counted(1, 1, 1)
        assert measured.ask(query("SELECT 1; SELECT 2")) == counted(1, 1, 1)
        assert measured.ask(query("BEGIN")) == counted(1, 1, 1)
        assert measured.ask(query("SELECT 1")) == counted(queries=1)
        assert measured.ask(query("SELECT 1/0")) == counted(queries=1)
        assert measured.ask(query("ROLLBACK")) == counted(queries=1)
        # Queries that overlap count as one: they cannot be told apart.
        assert measured.ask(query("SELECT 1") * 3, 3) == counted(1, 1, 1)


def test_the_extended_protocol(pooler: PgSwitch) -> None:
    """A batch is one query; named statements are counted where they come and go."""
    measured = Measured(pooler)
    with measured as client:
        unnamed = parse("", "SELECT 1") + bind("") + EXECUTE + SYNC
        assert measured.ask(unnamed) == counted(1, 1, 1)
        named = parse("a", "SELECT 1") + bind("a") + EXECUTE + SYNC
        assert measured.ask(named) == counted(
            1, 1, 1, client_parse_count=1, server_parse_count=1, bind_count=1
        )
        again = bind("a") + EXECUTE + bind("a") + EXECUTE + SYNC
        assert measured.ask(again) == counted(1, 1, 1, bind_count=2)
        # Another name for what the server has: nothing is sent there but Sync.
        client.send(parse("b", "SELECT 1") + SYNC)
        client.read_until(b"Z")
        changed = measured.changes()
        assert changed["bytes_received"] == len(parse("b", "SELECT 1") + SYNC)
        assert changed["client_parse_count"] == 1
        assert "server_parse_count" not in changed
        # Answered by the pooler, and no query.
        close = message(b"C", b"Sb\0")
        client.send(close)
        client.read_until(b"3")
        assert measured.changes() == {"bytes_received": len(close)}


def test_what_is_swallowed_counts_as_sent(pgswitch: PgSwitchFactory) -> None:
    """The answer to a reset query is not the client's, but came from a server."""
    pooler = pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
        server_reset_query="SELECT 1",
        server_reset_query_always=1,
    )
    measured = Measured(pooler)
    with measured as client:
        client.send(query("SELECT 1"))
        size = sum(5 + len(body) for _kind, body in client.read_until(b"Z"))
        wait_until(
            lambda: pooler.console("SHOW SERVERS")[0]["state"] == "idle", "the reset"
        )
        changed = measured.changes()
        assert changed.pop("bytes_received") == len(query("SELECT 1"))
        assert changed.pop("bytes_sent") == 2 * size
        assert changed == counted(1, 1, 1)


def test_times(pooler: PgSwitch) -> None:
    """In microseconds: of queries, of transactions with their pauses, of waits."""
    with Measured(pooler) as client:
        before = totals(pooler)
        client.send(query("BEGIN"))
        client.read_until(b"Z")
        client.send(query(f"SELECT pg_sleep({NAP_S})"))
        client.read_until(b"Z")
        nap, so_far = NAP_S * 1e6, totals(pooler)
        assert nap <= so_far["query_time"] - before["query_time"] < 20 * nap
        assert so_far["xact_time"] == before["xact_time"], "it has not ended"
        with Measured(pooler) as waiting:
            waiting.send(query("SELECT 1"))
            wait_until(lambda: waited(pooler) >= NAP_S, "a wait")
            assert totals(pooler)["wait_time"] == so_far["wait_time"]
            client.send(query("COMMIT"))
            client.read_until(b"Z")
            waiting.read_until(b"Z")
        after = totals(pooler)
        assert nap <= after["wait_time"] - so_far["wait_time"] < 20 * nap
        # Both transactions: the one that slept, and the one that waited for it.
        assert 3 * nap <= after["xact_time"] - before["xact_time"] < 60 * nap
        assert 2 * nap <= after["query_time"] - before["query_time"] < 40 * nap


def test_averages(pgswitch: PgSwitchFactory) -> None:
    """Counts a second; times for each query, transaction and server taken."""
    pooler = pgswitch(
        auth_type="trust", pool_mode="transaction", default_pool_size=1, stats_period=1
    )
    with Measured(pooler) as client:

        def averages() -> dict[str, int]:
            client.send(query("BEGIN; SELECT pg_sleep(0.02); COMMIT"))
            client.read_until(b"Z")
            rows = pooler.console("SHOW STATS_AVERAGES")
            (row,) = (row for row in rows if row["database"] == "bench")
            return {name: int(row[name]) for name in row if name != "database"}

        wait_until(lambda: averages()["query_count"] > 0, "a period's averages")
        found = averages()
        assert 0 < found["xact_count"] <= found["query_count"] <= 50
        assert 20_000 <= found["query_time"] < 400_000
        assert found["query_time"] == found["xact_time"]
        assert found["bytes_received"] > found["query_count"]
