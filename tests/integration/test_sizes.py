"""How many servers there are: sizes, reserve, limits over pools, what is forgotten."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.fakes.messages import query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True


class Crowd:
    """Clients of one pooler that may wait, all closed at the end."""

    def __init__(self, pooler: PgSwitch, stack: ExitStack) -> None:
        """Begin without any."""
        self.pooler = pooler
        self._stack = stack

    def client(self, user: str = "scram", database: str = "bench") -> RawClient:
        """Return a client that has logged in."""
        client = self._stack.enter_context(RawClient(self.pooler.port))
        client.log_in(user, database)
        return client

    def holding(self, user: str = "scram", database: str = "bench") -> RawClient:
        """Return a client that is inside a transaction."""
        client = self.client(user, database)
        client.send(query("BEGIN"))
        client.read_until(b"Z")
        return client


def pool(
    pooler: PgSwitch, user: str = "scram", database: str = "bench"
) -> dict[str, int]:
    """Return the numbers of a row of SHOW POOLS; none if there is no such pool."""
    rows = pooler.console("SHOW POOLS")
    return next(
        (row for row in rows if (row["user"], row["database"]) == (user, database)), {}
    )


def servers(pooler: PgSwitch, user: str = "scram", database: str = "bench") -> int:
    """Return how many servers a pool has."""
    row = pool(pooler, user, database)
    return sum(number for name, number in row.items() if name.startswith("sv_"))


def is_waiting(pooler: PgSwitch, user: str, database: str) -> bool:
    """Tell whether one client of a pool waits."""
    return pool(pooler, user, database)["cl_waiting"] == 1


def ended(client: RawClient) -> None:
    """End the client's transaction."""
    client.send(query("COMMIT"))
    client.read_until(b"Z")


def asked(client: RawClient) -> None:
    """Have a client ask something; the answer is not awaited."""
    client.send(query("SELECT 1"))


def answered(client: RawClient) -> None:
    """Wait for the answer."""
    messages = client.read_until(b"Z")
    assert b"D" in [kind for kind, _ in messages], messages


def test_pool_size_of_user_database_and_all(pgswitch: PgSwitchFactory) -> None:
    """The user's own goes before the database's, that before the default."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{bench} pool_size=2", "other": bench},
        sections={"users": {"md5": "pool_size=3"}},
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
    )
    with ExitStack() as stack:
        crowd = Crowd(pooler, stack)
        for user, database, size in (
            ("scram", "other", 1),
            ("scram", "bench", 2),
            ("md5", "bench", 3),
            ("md5", "other", 3),
        ):
            for _ in range(size):
                crowd.holding(user, database)
            asked(crowd.client(user, database))
            wait_until(
                partial(is_waiting, pooler, user, database), "one too many to wait"
            )
            assert servers(pooler, user, database) == size


def test_no_limit(pgswitch: PgSwitchFactory) -> None:
    """pool_size=0: as many as are needed."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{bench} pool_size=0"},
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
    )
    with ExitStack() as stack:
        crowd = Crowd(pooler, stack)
        for _ in range(5):
            crowd.holding()
        assert servers(pooler) == 5


def test_min_pool_size(pgswitch: PgSwitchFactory) -> None:
    """Kept from the first client on; with a forced user from the start."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {
            "bench": bench,
            "forced": f"{bench} dbname=bench user=md5 password=md5-secret",
        },
        auth_type="trust",
        min_pool_size=3,
        default_pool_size=5,
    )
    wait_until(lambda: servers(pooler, "md5", "forced") == 3, "servers at the start")
    assert pool(pooler) == {}
    with ExitStack() as stack:
        Crowd(pooler, stack).client()
        wait_until(lambda: servers(pooler) == 3, "servers for the first client")


def test_the_reserve(pgswitch: PgSwitchFactory) -> None:
    """Opened for clients that have waited for reserve_pool_timeout, and said so."""
    pooler = pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
        reserve_pool_size=2,
        reserve_pool_timeout=1,
    )
    with ExitStack() as stack:
        crowd = Crowd(pooler, stack)
        crowd.holding()
        waiting = [crowd.client() for _ in range(2)]
        for client in waiting:
            asked(client)
        wait_until(lambda: pool(pooler)["cl_waiting"] == 2, "both to wait")
        assert servers(pooler) == 1
        for client in waiting:
            answered(client)
        assert 2 <= servers(pooler) <= 3
        log = pooler.log_text()
        assert "WARNING C-" in log
        assert "scram@127.0.0.1" in log
        assert "taking connection from reserve_pool" in log


def test_the_reserve_of_a_user(pgswitch: PgSwitchFactory) -> None:
    """reserve_pool_size=0 in [users] takes it from one user alone."""
    pooler = pgswitch(
        sections={"users": {"md5": "reserve_pool_size=0"}},
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
        reserve_pool_size=1,
        reserve_pool_timeout=0.1,
    )
    with ExitStack() as stack:
        crowd = Crowd(pooler, stack)
        crowd.holding("md5")
        crowd.holding("scram")
        without, with_ = crowd.client("md5"), crowd.client("scram")
        asked(without)
        asked(with_)
        answered(with_)
        assert servers(pooler, "md5") == 1
        assert pool(pooler, "md5")["cl_waiting"] == 1


@pytest.mark.parametrize(
    ("settings", "databases", "users", "other"),
    [
        ({"max_db_connections": 2}, "", {}, ("md5", "bench")),
        ({}, "max_db_connections=2", {}, ("md5", "bench")),
        ({"max_user_connections": 2}, "", {}, ("scram", "other")),
        ({}, "", {"scram": "max_user_connections=2"}, ("scram", "other")),
    ],
)
def test_limits_over_pools(
    pgswitch: PgSwitchFactory,
    settings: dict[str, Any],
    databases: str,
    users: dict[str, str],
    other: tuple[str, str],
) -> None:
    """An idle server of another pool is evicted; without one, the client waits."""
    entries = {
        name: f"{entry} {databases}"
        for name, entry in pgswitch.usual_databases().items()
    }
    pooler = pgswitch(
        entries,
        sections={"users": users},
        auth_type="trust",
        pool_mode="transaction",
        **settings,
    )
    with ExitStack() as stack:
        crowd = Crowd(pooler, stack)
        first, second = crowd.holding(), crowd.holding()
        assert servers(pooler) == 2
        ended(first)
        third = crowd.holding(*other)
        assert "closing because: evicted" in pooler.log_text()
        assert (servers(pooler), servers(pooler, *other)) == (1, 1)
        asked(first)
        wait_until(lambda: pool(pooler)["cl_waiting"] == 1, "the first to wait")
        ended(third)
        answered(first)
        assert (servers(pooler), servers(pooler, *other)) == (2, 0)
        ended(second)


def test_what_is_forgotten(pgswitch: PgSwitchFactory) -> None:
    """Empty pools after pool_idle_timeout, automatic databases after theirs."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": bench, "*": bench},
        auth_type="trust",
        pool_mode="transaction",
        server_idle_timeout=0.3,
        pool_idle_timeout=0.5,
        autodb_idle_timeout=0.5,
    )
    pooler.execute("SELECT 1")
    pooler.execute("SELECT 1", database="other")
    pooler.wait_for_log("registered new auto-database: other")
    pooler.wait_for_log("cleaning up idle pool for user scram on db bench because: ")
    wait_until(lambda: pool(pooler) == {}, "the pool to go")
    wait_until(lambda: pool(pooler, database="other") == {}, "the other to go")
    names = [row["name"] for row in pooler.console("SHOW DATABASES")]
    assert names == ["bench", "pgbouncer"]
    assert pooler.execute("SELECT 1", database="other") == [(1,)]


@pytest.mark.parametrize(
    ("settings", "sections", "text"),
    [
        ({"max_client_conn": 2}, {}, "no more connections allowed (max_client_conn)"),
        (
            {"max_db_client_connections": 2},
            {},
            "client connections exceeded (max_db_client_connections)",
        ),
        (
            {},
            {"users": {"scram": "max_user_client_connections=2"}},
            "client connections exceeded (max_user_client_connections)",
        ),
    ],
)
def test_limits_on_clients(
    pgswitch: PgSwitchFactory,
    settings: dict[str, Any],
    sections: dict[str, dict[str, str]],
    text: str,
) -> None:
    """One too many learns which limit; when one leaves there is room again."""
    pooler = pgswitch(auth_type="trust", sections=sections, **settings)
    with ExitStack() as stack:
        crowd = Crowd(pooler, stack)
        first, _second = crowd.client(), crowd.client()
        with pytest.raises(psycopg.OperationalError, match=text.partition("(")[0]):
            pooler.connect()
        assert text in pooler.log_text()
        first.socket.close()
        wait_until(
            lambda: (
                next(
                    row["current_client_connections"]
                    for row in pooler.console("SHOW DATABASES")
                    if row["name"] == "bench"
                )
                == 1
            ),
            "the first to be gone",
        )
        crowd.client()


def test_numbers_on_the_console(pgswitch: PgSwitchFactory) -> None:
    """SHOW DATABASES and SHOW USERS tell the limits in force and what is used."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{bench} max_db_connections=7 reserve_pool=2", "other": bench},
        sections={"users": {"scram": "max_user_connections=5 pool_size=4"}},
        auth_type="trust",
        pool_mode="transaction",
        max_user_connections=6,
        max_db_client_connections=50,
    )
    with ExitStack() as stack:
        crowd = Crowd(pooler, stack)
        crowd.holding()
        crowd.holding()
        crowd.client(database="other")
        databases = {row["name"]: row for row in pooler.console("SHOW DATABASES")}
        users = {row["name"]: row for row in pooler.console("SHOW USERS")}
    row = databases["bench"]
    assert (row["max_connections"], row["current_connections"]) == (7, 2)
    assert (row["max_client_connections"], row["current_client_connections"]) == (50, 2)
    assert row["reserve_pool_size"] == 2
    row = databases["other"]
    assert (row["max_connections"], row["current_connections"]) == (0, 1)
    assert (row["reserve_pool_size"], row["current_client_connections"]) == (0, 1)
    row = users["scram"]
    assert (row["max_user_connections"], row["current_connections"]) == (5, 3)
    assert (row["pool_size"].strip(), row["current_client_connections"]) == ("4", 3)
    assert users["md5"]["max_user_connections"] == 6
