"""SHOW MEM."""

from __future__ import annotations

from pgswitch.admin.show.service import MEM, MemoryRow
from pgswitch.admin.statements import named_rows
from tests.fakes.messages import message, query
from tests.fakes.world import World
from tests.unit.admin.reading import cells

NAMES = [
    *("user_cache", "credentials_cache", "db_cache", "peer_cache"),
    *("peer_pool_cache", "pool_cache", "outstanding_request_cache", "server_cache"),
    *("client_cache", "iobuf_cache", "var_list_cache"),
    "server_prepared_statement_cache",
]


def test_the_rows(world: World) -> None:
    """PgBouncer's rows in its order, with the numbers of live objects."""
    client, _server = world.asking()
    client.say(message(b"P", b"a\0SELECT 1\0\0\0"))
    waiting = world.client()
    waiting.say(query())
    rows = {row.name: row for row in named_rows("mem", world.service.view)}
    assert list(rows) == NAMES
    used = {name: row.used for name, row in rows.items() if row.used}
    assert used == {
        "user_cache": 3,
        "credentials_cache": 3,
        "db_cache": 1,
        "pool_cache": 1,
        "outstanding_request_cache": 2,
        "server_cache": 1,
        "client_cache": 2,
        "iobuf_cache": 1,
        "var_list_cache": 1,
        "server_prepared_statement_cache": 1,
    }
    assert all(row.size > 0 for row in rows.values() if row.used)


def test_without_clients(world: World) -> None:
    """A kind without objects has the size 0."""
    rows = {row.name: row for row in named_rows("mem", world.service.view)}
    assert (rows["client_cache"].used, rows["client_cache"].size) == (0, 0)


def test_values_stand_in_their_columns() -> None:
    """The total is that of all objects."""
    assert cells(MEM, MemoryRow("user_cache", 10, 6)) == [
        ("user_cache", "10", "6", "0", "60")
    ]
