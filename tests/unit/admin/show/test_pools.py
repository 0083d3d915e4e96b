"""SHOW POOLS, PEERS and PEER_POOLS of a running service."""

from __future__ import annotations

from typing import Any

import pytest

from pgswitch.admin.show.pools import (
    PEER_POOLS,
    PEERS,
    POOLS,
    CancelCounts,
    PeerRow,
    PoolRow,
)
from pgswitch.admin.statements import named_rows
from pgswitch.admin.view import ServiceView
from pgswitch.config.model import PeerSpec
from pgswitch.pool.outgoing_cancels import OutgoingCancels
from pgswitch.types import PoolKey, PoolMode
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, query, split
from tests.fakes.world import World, WorldOf
from tests.unit.admin.reading import cells, rows_of
from tests.unit.pool.test_writer_route import OTHER, in_cluster


@pytest.fixture
def view(world: World) -> ServiceView:
    """Return the view of the usual world."""
    return world.service.view


def pool(world: World, database: str = "db") -> Any:  # noqa: ANN401 - columns as attributes
    """Return the row of a pool."""
    pools = named_rows("pools", world.service.view)
    return next(one for one in pools if one.database == database)


def counts(world: World) -> dict[str, int]:
    """Return the nonzero counts of clients and servers of a pool, by state."""
    return {
        name: value
        for name, value in pool(world)._asdict().items()
        if name.startswith(("cl_", "sv_")) and value
    }


def test_the_states_of_a_pool(world_of: WorldOf) -> None:
    """A client and its server, from login to end."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=1")
    client = world.client()
    assert counts(world) == {"cl_waiting": 1, "sv_login": 1}
    server = world.server()
    key = dict(split(client.hear()))["K"]
    assert counts(world) == {"cl_active": 1, "sv_idle": 1}
    client.say(query())
    assert counts(world) == {"cl_active": 1, "sv_active": 1}
    other = world.client()
    other.say(query())
    world.wait(2)
    assert counts(world) == {"cl_active": 1, "cl_waiting": 1, "sv_active": 1}
    assert (pool(world).maxwait, pool(world).maxwait_us) == (2, 0)
    other.drop()
    request = world.connect()
    request.say(encode.cancel_request(key))
    connecting = {"cl_active": 1, "cl_waiting_cancel_req": 1, "sv_login": 1}
    assert counts(world) == connecting | {"sv_active": 1}
    cancel = world.cancelling()
    assert counts(world) == {
        "cl_active": 1,
        "cl_active_cancel_req": 1,
        "sv_active": 1,
        "sv_active_cancel": 1,
    }
    server.say(ANSWER)
    assert counts(world)["sv_being_canceled"] == 1
    cancel.drop()
    assert counts(world) == {"cl_active": 1, "sv_idle": 1}


def test_resets_and_checks(world_of: WorldOf) -> None:
    """Servers are counted as tested and as used."""
    world = world_of(
        settings="pool_mode = session\nserver_check_delay = 5\n"
        "server_check_query = SELECT 1"
    )
    client, server = world.asking()
    server.answer()
    world.leave(client)
    assert counts(world) == {"sv_tested": 1}
    server.answer()
    world.wait(6)
    assert counts(world) == {"sv_used": 1}
    assert pool(world).pool_mode == "session"


def test_the_consoles_own_pool(world: World, view: ServiceView) -> None:
    """The pool of the console is always there and counts its clients."""
    assert pool(world, "pgbouncer").cl_active == 0
    world.console()
    world.console()
    assert pool(world, "pgbouncer").cl_active == 2
    assert [one.database for one in named_rows("pools", view)] == ["pgbouncer"]


def test_the_order_of_pools(world_of: WorldOf) -> None:
    """Pools are sorted by database and user, that of the console among them."""
    world = world_of(databases="z = host=10.0.0.1\na = host=10.0.0.1")
    for database, user in (("z", "app"), ("a", "other"), ("a", "app")):
        world.client(database, user)
    shown = [
        (one.database, one.user) for one in named_rows("pools", world.service.view)
    ]
    assert shown == [
        *(("a", "app"), ("a", "other"), ("pgbouncer", "pgbouncer"), ("z", "app")),
    ]


def test_peers(world: World, view: ServiceView) -> None:
    """Peers are sorted by number and have the default size unless they set one."""
    assert rows_of("peers", view) == []
    path = world.folder / "pgswitch.ini"
    path.write_text(
        "[peers]\n2 = host=10.0.0.2\n1 = host=10.0.0.1 pool_size=5\n"
        + path.read_text().replace("[peers]", "")
    )
    assert world.service.reload()
    assert [
        (peer.peer_id, peer.host, peer.pool_size) for peer in named_rows("peers", view)
    ] == [
        (1, "10.0.0.1", 5),
        (2, "10.0.0.2", 20),
    ]


def test_connections_to_standbys(world: World) -> None:
    """Standby connections appear once, as pools of their nodes, and count there."""
    world.pair()
    pools = world.service.pools
    route = in_cluster(world)
    spec = pools.context.configuration.databases["db"]
    pools.cluster_databases.set(spec, [OTHER], [OTHER], ["db"])
    route.standbys.set_nodes([OTHER])
    world.server()
    node = pool(world, OTHER.name)
    assert (node.user, node.sv_idle, node.sv_login) == ("app", 1, 1)
    databases = {one.name: one for one in named_rows("databases", world.service.view)}
    assert databases[OTHER.name].host == OTHER.host
    assert databases[OTHER.name].current_connections == 2
    assert databases["db"].current_connections == 1
    servers = [one.database for one in named_rows("servers", world.service.view)]
    assert servers == ["db", OTHER.name]
    reader = pools.pool_for_role(spec, "app", "reader")
    assert reader.key.database == OTHER.name
    reader.launch(at_least=1)
    shown = [
        one
        for one in named_rows("pools", world.service.view)
        if one.database == OTHER.name
    ]
    assert [(one.sv_idle, one.sv_login) for one in shown] == [(1, 2)]
    route.serve_from(OTHER, same=False)
    assert {one.database for one in named_rows("servers", world.service.view)} == {"db"}


def test_values_stand_in_their_columns() -> None:
    """Each number of a pool is in its own column."""
    states = [("active", 5), ("being_canceled", 7), ("idle", 8), ("used", 9)]
    states += [("tested", 10), ("new", 10), ("closed", 3)]
    full = PoolRow(
        PoolKey("bench", "postgres"),
        PoolMode.TRANSACTION,
        states=[state for state, count in states for _ in range(count)],
        active_clients=1,
        waiting_clients=2,
        maxwait_us=12_000_013,
        cancels=CancelCounts(active=6, waiting=4, connecting=1),
        load_balance_hosts="round-robin",
    )
    console = PoolKey("pgbouncer", "pgbouncer")
    empty = PoolRow(console, PoolMode.STATEMENT, active_clients=1)
    assert cells(POOLS, full, empty) == [
        (
            *("bench", "postgres"),
            *("1", "2", "6", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"),
            *("transaction", "round-robin"),
        ),
        ("pgbouncer", "pgbouncer", "1", *("0",) * 12, "statement", None),
    ]


def test_values_of_peers_stand_in_their_columns() -> None:
    """The same holds for both results about peers."""
    spec = PeerSpec(peer_id=2, host="10.0.0.2", port=6401)
    row = PeerRow(spec, 3, CancelCounts(active=1, waiting=2, connecting=4))
    assert cells(PEERS, row) == [("2", "10.0.0.2", "6401", "3")]
    assert cells(PEER_POOLS, row) == [("2", "1", "2", "1", "4")]


def test_only_peers_that_got_a_request_have_a_pool(world: World) -> None:
    """At first, no peer has got a request."""
    path = world.folder / "pgswitch.ini"
    text = path.read_text().replace("[peers]", "")
    path.write_text("[peers]\n1 = host=10.0.0.1\n2 = host=10.0.0.2\n" + text)
    assert world.service.reload()
    view = world.service.view
    assert rows_of("peer_pools", view) == []
    view.keys.peers[2] = OutgoingCancels(world.context, lambda: None)
    assert rows_of("peer_pools", view) == [("2", "0", "0", "0", "0")]
