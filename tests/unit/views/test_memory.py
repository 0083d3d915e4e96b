"""How much there is of what."""

from __future__ import annotations

from tests.fakes.messages import message, query
from tests.fakes.world import World

NAMES = [
    *("user_cache", "credentials_cache", "db_cache", "peer_cache"),
    *("peer_pool_cache", "pool_cache", "outstanding_request_cache", "server_cache"),
    *("client_cache", "iobuf_cache", "var_list_cache"),
    "server_prepared_statement_cache",
]


def test_the_rows(world: World) -> None:
    """The reference's, in its order, with what is alive."""
    client, _server = world.asking()
    client.say(message(b"P", b"a\0SELECT 1\0\0\0"))
    waiting = world.client()
    waiting.say(query())
    rows = {row.name: row for row in world.service.view.memory()}
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


def test_nobody_there(world: World) -> None:
    """Kinds without objects have no size."""
    rows = {row.name: row for row in world.service.view.memory()}
    assert (rows["client_cache"].used, rows["client_cache"].size) == (0, 0)
