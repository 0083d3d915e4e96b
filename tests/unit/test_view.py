"""What the console sees of a running service, state by state."""

from __future__ import annotations

from dataclasses import asdict
from time import time

import pytest

from pgswitch.admin.snapshots import PoolSnapshot, SocketSnapshot
from pgswitch.types import PoolMode
from pgswitch.view import ServiceView
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, IN_TRANSACTION, message, query, split
from tests.fakes.world import World, WorldOf


@pytest.fixture
def view(world: World) -> ServiceView:
    """Return the view of the usual world."""
    return world.service.view


def pool(world: World, database: str = "db") -> PoolSnapshot:
    """Return the line of a pool."""
    pools = world.service.view.pools()
    return next(one for one in pools if one.database == database)


def counts(world: World) -> dict[str, int]:
    """Return how many clients and servers a pool has in which states, but zeros."""
    return {
        name: value
        for name, value in asdict(pool(world)).items()
        if name.startswith(("cl_", "sv_")) and value
    }


def test_the_states_of_a_pool(world_of: WorldOf) -> None:
    """A client and its server, from the login to the end."""
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
    assert pool(world).maxwait_us == 2_000_000
    other.drop()
    request = world.connect()
    request.say(encode.cancel_request(key))
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
    """Tested and used servers."""
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
    assert pool(world).pool_mode is PoolMode.SESSION


def test_the_consoles_own_pool(world: World, view: ServiceView) -> None:
    """Always there, with its clients."""
    assert pool(world, "pgbouncer").cl_active == 0
    world.console()
    world.console()
    assert pool(world, "pgbouncer").cl_active == 2
    assert [one.database for one in view.pools()] == ["pgbouncer"]


# Sockets.


def one(snapshots: object) -> SocketSnapshot:
    """Return the only one."""
    assert isinstance(snapshots, list)
    (snapshot,) = snapshots
    assert isinstance(snapshot, SocketSnapshot)
    return snapshot


def test_a_client_and_its_server(world: World, view: ServiceView) -> None:
    """They point at each other while they are joined."""
    client = world.client(application_name="shop")
    server = world.server(application_name="shop")
    client.say(query("BEGIN"))
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    world.wait(3)
    client.say(query())
    world.wait(2)
    seen, other = one(view.clients()), one(view.servers())
    assert (seen.user, seen.database, seen.state) == ("app", "db", "active")
    assert (seen.addr, seen.port) == ("192.0.2.1", 40_000)
    assert seen.application_name == "shop"
    assert seen.id == client.frontend.number
    assert seen.wait_us == other.wait_us == 2_000_000
    assert seen.request_time == pytest.approx(time() - 2, abs=1)
    assert (seen.link, other.link) == (other.ptr, seen.ptr)
    assert (other.addr, other.port) == ("10.0.0.1", 5432)
    assert other.remote_pid == server.backend.number
    assert other.application_name == "shop"
    assert not other.close_needed
    world.pool().expire_servers()
    assert one(view.servers()).close_needed


def test_who_is_shown_where(world: World, view: ServiceView) -> None:
    """Clients in their login are sockets only; a server counts from its connection."""
    world.connect()
    assert view.clients() == []
    assert one(view.sockets()).socket_state == "cl_login"
    assert one(view.sockets()).user is None
    world.client()
    assert one(view.clients()).state == "waiting"
    assert view.servers() == []
    world.accept()
    assert one(view.servers()).socket_state == "sv_login"
    assert one(view.servers()).application_name is None
    assert len(view.sockets()) == 3


def test_a_cancel_request_is_a_client(world: World, view: ServiceView) -> None:
    """As long as it is passed on."""
    client = world.client()
    world.server()
    key = dict(split(client.hear()))["K"]
    client.say(query())
    world.connect().say(encode.cancel_request(key))
    assert [seen.state for seen in view.clients()] == ["active", "active_cancel_req"]


def test_prepared_statements(world: World, view: ServiceView) -> None:
    """How many each side has."""
    client, server = world.pair()
    parse = message(b"P", b"a\0SELECT 1\0\0\0") + message(b"P", b"b\0SELECT 1\0\0\0")
    client.say(parse + message(b"S"))
    server.say(message(b"1") + ANSWER[-6:])
    assert one(view.clients()).prepared_statements == 2
    assert one(view.servers()).prepared_statements == 1


def test_the_rest_of_a_message(world: World, view: ServiceView) -> None:
    """How much of one that is passed on in pieces is still to come."""
    client, server = world.asking("COPY t FROM STDIN")
    server.say(message(b"G", b"\0\0\0"))
    client.say(message(b"d", b"x" * 100)[:50])
    assert one(view.clients()).pkt_remain == 55
    server.say(message(b"N", b"S" * 50)[:30])
    assert one(view.servers()).pkt_remain == 25


# Databases, users, peers.


def test_databases(world_of: WorldOf) -> None:
    """Entries and automatic ones by name, the console's at the end."""
    world = world_of(
        databases="b = host=10.0.0.1 dbname=x pool_size=3 user=owner\n"
        "a = host=10.0.0.1,10.0.0.2 load_balance_hosts=disable\n* = host=10.0.0.3"
    )
    world.client("zed")
    world.client("a")
    operations = world.service.operations
    operations.pause("a")
    operations.disable("b")
    view = world.service.view
    names = [line.name for line in view.databases()]
    assert names == ["a", "b", "zed", "pgbouncer"]
    a, b, zed, _console = view.databases()
    assert (a.paused, a.disabled, a.load_balance_hosts) == (True, False, "disable")
    assert (b.paused, b.disabled, b.load_balance_hosts) == (False, True, None)
    assert (b.database, b.pool_size, b.force_user) == ("x", 3, "owner")
    assert (zed.database, zed.host) == ("zed", "10.0.0.3")
    assert zed.current_connections == zed.current_client_connections == 1


def test_users(world_of: WorldOf) -> None:
    """Those of the file, of [users], and those that pools log in as."""
    world = world_of(
        databases="db = host=10.0.0.1 user=owner",
        users="app = pool_size=4 max_user_connections=9\nguest = pool_mode=session",
    )
    world.client()
    world.client(user="other")
    users = {user.name: user for user in world.service.view.users()}
    assert list(users) == ["admin", "app", "guest", "other", "owner"]
    assert (users["app"].pool_size, users["app"].max_user_connections) == (4, 9)
    assert users["guest"].pool_mode is PoolMode.SESSION
    assert users["owner"].current_connections == 1
    assert users["app"].current_client_connections == 1
    assert users["owner"].current_client_connections == 0


def test_peers(world: World, view: ServiceView) -> None:
    """By number, with the size of all where they have none of their own."""
    assert view.peers() == []
    path = world.folder / "pgswitch.ini"
    path.write_text(
        "[peers]\n2 = host=10.0.0.2\n1 = host=10.0.0.1 pool_size=5\n"
        + path.read_text().replace("[peers]", "")
    )
    assert world.service.reload()
    assert [(peer.peer_id, peer.host, peer.pool_size) for peer in view.peers()] == [
        (1, "10.0.0.1", 5),
        (2, "10.0.0.2", 20),
    ]


# Counts.


def test_statistics(world_of: WorldOf) -> None:
    """Of each database over all its users, and of all databases."""
    world = world_of(databases="a = host=10.0.0.1\nb = host=10.0.0.2")
    for database, user in (("a", "app"), ("a", "other"), ("b", "app")):
        client = world.client(database, user)
        server = world.server()
        for _ in range(3):
            client.say(query())
            server.say(ANSWER)
    world.wait(3)
    report = world.service.view.stats()
    assert list(report.totals) == ["a", "b", "pgbouncer"]
    assert report.totals["a"].query_count == 6
    assert report.totals["b"].query_count == 3
    assert report.total.query_count == 9
    assert report.total.client_bytes == 9 * len(query())
    assert report.averages["a"].query_count == 2
    assert report.total_averages.query_count == 3


def test_lists(world: World, view: ServiceView) -> None:
    """How many there are of each thing."""
    world.pair()
    world.connect()
    lists = view.lists()
    assert (lists.databases, lists.users, lists.peers, lists.pools) == (2, 3, 0, 2)
    assert (lists.used_clients, lists.login_clients, lists.used_servers) == (1, 1, 1)


def test_state(world: World, view: ServiceView) -> None:
    """Paused, shutting down."""
    assert (view.state().paused, view.state().shutting_down) == (False, False)
    world.service.operations.pause(None)
    world.service.shutdown_wait_for_clients()
    assert (view.state().paused, view.state().shutting_down) == (True, True)


def test_what_there_is_nothing_of(view: ServiceView) -> None:
    """No caches of names or objects; every setting has its line."""
    assert not view.memory()
    assert not view.dns_hosts()
    assert ("pool_mode", "transaction", "session", "yes") in view.config_rows()


RULES = """
def routing_rules(username, query, in_transaction):
    return username or None

async def rewrite_query(username, query, in_transaction):
    if "bad" in query:
        return 7
    return query.replace("old", "new")
"""


@pytest.mark.parametrize(
    ("query_", "user", "database", "expected"),
    [
        ("SELECT old", "", "db", ("SELECT new", "db", None, "10.0.0.1:5432")),
        ("SELECT 1", "db:reader", "", ("SELECT 1", "db", "reader", "10.0.0.1:5432")),
        ("SELECT 1", "none", "db", ("SELECT 1", "none", None, None)),
        ("SELECT bad", "", "db", ("SELECT bad", "db", None, "10.0.0.1:5432")),
    ],
)
def test_routes(
    world_of: WorldOf,
    query_: str,
    user: str,
    database: str,
    expected: tuple[object, ...],
) -> None:
    """What the rules in force make of a query, and why."""
    world = world_of()
    path = world.folder / "r.py"
    path.write_text(RULES)
    assert world.reload(
        settings=f"routing_rules_py_module_file = {path}\n"
        f"rewrite_query_py_module_file = {path}"
    )
    found = world.service.view.route(query_, user, database)
    assert (found.query, found.database, found.role, found.node) == expected
    assert ("no entry" in found.why) is (user == "none")
    assert ("rewrite_query failed" in found.why) is ("bad" in query_)


def test_a_route_without_rules(view: ServiceView) -> None:
    """The query goes as it is, where the client is."""
    found = view.route("SELECT 1", "joe", "db")
    assert (found.query, found.database, found.why) == ("SELECT 1", "db", "no rules")
