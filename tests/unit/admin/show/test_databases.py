"""Databases and users of a running service."""

from __future__ import annotations

from pgswitch.admin.statements import named_rows
from tests.fakes.world import WorldOf
from tests.unit.admin.reading import rows_of


def test_databases(world_of: WorldOf) -> None:
    """Entries and automatic databases, sorted by name with the console."""
    world = world_of(
        databases="b = host=10.0.0.1 dbname=x pool_size=3 user=owner\n"
        "a = host=10.0.0.1,10.0.0.2 load_balance_hosts=disable\n"
        "* = host=10.0.0.3,10.0.0.4"
    )
    world.client("zed")
    world.client("a")
    operations = world.service.operations
    operations.pause("a")
    operations.disable("b")
    operations.disable("early")
    view = world.service.view
    names = [line.name for line in named_rows("databases", view)]
    assert names == ["a", "b", "early", "pgbouncer", "zed"]
    a, b, early, _console, zed = named_rows("databases", view)
    assert (a.paused, a.disabled, a.load_balance_hosts) == (True, False, "disable")
    assert (early.database, early.disabled) == ("early", True)
    assert (b.paused, b.disabled, b.load_balance_hosts) == (False, True, None)
    assert (b.database, b.pool_size, b.force_user) == ("x", 3, "owner")
    assert (zed.database, zed.host) == ("zed", "10.0.0.3,10.0.0.4")
    assert zed.load_balance_hosts == "round-robin"
    assert zed.current_connections == zed.current_client_connections == 1


def test_users(world_of: WorldOf) -> None:
    """Users of auth_file, of [users], and those that pools log in as."""
    world = world_of(
        databases="db = host=10.0.0.1 user=owner",
        users="app = pool_size=4 max_user_connections=9\nguest = pool_mode=session",
    )
    world.client()
    world.client(user="other")
    users = {user.name: user for user in named_rows("users", world.service.view)}
    assert list(users) == ["admin", "app", "guest", "other", "owner", "pgbouncer"]
    assert users["app"].pool_size == "        4"
    assert users["app"].max_user_connections == 9
    assert users["guest"].pool_mode == "session"
    assert users["owner"].current_connections == 1
    assert users["app"].current_client_connections == 1
    assert users["owner"].current_client_connections == 0


def test_values_of_databases_stand_in_their_columns(world_of: WorldOf) -> None:
    """An entry with limits, and the console with its fixed values."""
    world = world_of(
        databases="bench = host=127.0.0.1 port=6000 dbname=bench_real pool_size=3"
        " min_pool_size=1 reserve_pool_size=2 server_lifetime=3600"
        " max_db_connections=4 max_db_client_connections=6"
    )
    world.service.operations.pause("bench")
    bench, console = rows_of("databases", world.service.view)
    assert bench == (
        *("bench", "127.0.0.1", "6000", "bench_real", None),
        *("3", "1", "2", "3600", None, None, "4", "0", "6", "0", "1", "0"),
    )
    port = str(world.context.configuration.settings.listen_port)
    assert console == (
        *("pgbouncer", None, port, "pgbouncer", "pgbouncer"),
        *("2", "0", "0", "3600", "statement", None, "0", "0", "0", "0", "0", "0"),
    )


def test_values_of_users_stand_in_their_columns(world_of: WorldOf) -> None:
    """A user without settings and one with; sizes are aligned as in PgBouncer."""
    world = world_of(
        users="app = pool_size=5 reserve_pool_size=0 pool_mode=session"
        " max_user_connections=8 max_user_client_connections=9"
    )
    world.console()
    rows = {row[0]: row for row in rows_of("users", world.service.view)}
    assert rows["admin"] == ("admin", "", "", None, "0", "0", "0", "1")
    assert rows["app"] == (
        *("app", "        5", "        0", "session", "8", "0", "9", "0"),
    )
