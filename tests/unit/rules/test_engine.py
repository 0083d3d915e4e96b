"""Which rules apply to which client: keys, reloads, complaints."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.admin.statements import named_rows
from pgswitch.cluster.nodes import Node
from tests.fakes.messages import ANSWER, kinds, message, query
from tests.fakes.world import Client, Server, World, WorldOf
from tests.unit.rules.files import write
from tests.unit.rules.worlds import ROUTING, TWO, world_with


@pytest.mark.parametrize("key", ["nowhere", "pgbouncer", "nowhere:reader", "*"])
def test_unknown_keys(world_of: WorldOf, tmp_path: Path, key: str) -> None:
    """The client stays; that is counted, and logged from time to time."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, server = world.pair()
    for number in range(3):
        client.say(query(f"SELECT {number} --{key}"))
        assert server.answer()
    assert named_rows("rules", world.service.view)[0].unknown == 3
    lines = [line for line in world.log if "nonexistent database key" in line]
    assert len(lines) == 1
    assert repr(key) in lines[0]
    world.wait(11)
    client.say(query(f"SELECT 4 --{key}"))
    assert world.logged("(2 times more before)")


def test_reloads(world_of: WorldOf, tmp_path: Path) -> None:
    """New rules hold for clients that are there; bad ones change nothing at all."""
    world = world_of(databases=TWO)
    client, server = world.pair()
    admin = world.console()
    path = write(tmp_path, "r.py", "def rewrite_query(u, q): return 'first'")
    settings = f"rewrite_query_py_module_file = {path}\nquery_timeout = %d"
    client.say(query("SELECT 1"))
    assert server.answer() == query("SELECT 1")
    assert world.reload(databases=TWO, settings=settings % 5)
    client.say(query("SELECT 1"))
    assert server.answer() == query("first")
    write(tmp_path, "r.py", "import nowhere_at_all")
    assert not world.reload(databases=TWO, settings=settings % 6)
    assert world.logged("No module named 'nowhere_at_all'")
    assert world.service.configuration.settings.query_timeout == 5
    client.say(query("SELECT 1"))
    assert server.answer() == query("first")
    assert world.reload(databases=TWO)
    client.say(query("SELECT 1"))
    assert server.answer() == query("SELECT 1")
    admin.say(query("SHOW VERSION"))
    assert kinds(admin.hear()).endswith("CZ"), "the console is no client of a pool"


def test_rules_that_come_to_sessions(world_of: WorldOf, tmp_path: Path) -> None:
    """Present clients can be moved from then on, so their statements are kept for it.

    A Close ahead of the move gets our own reply: the server is as clean as before.
    """
    mode = "pool_mode = session"
    world = world_of(databases=TWO, settings=mode)
    client, old = world.pair()
    prepare = b"%b\0SELECT 1 --%b\0\0\0"
    sync, ready = message(b"S"), message(b"1") + message(b"Z", b"I")
    client.say(message(b"P", prepare % (b"mine", b"")) + sync)
    old.say(ready)
    path = write(tmp_path, "r.py", ROUTING)
    settings = f"{mode}\nrouting_rules_py_module_file = {path}"
    assert world.reload(databases=TWO, settings=settings)
    client.say(message(b"P", prepare % (b"more", b"db")) + sync)
    old.say(ready)
    old.hear()
    client.hear()
    moving = message(b"P", prepare % (b"more", b"new"))
    client.say(message(b"C", b"Smore\0") + moving + sync)
    assert kinds(client.hear()) == "3"
    assert old.answer() == query("DISCARD ALL")
    assert old.state() == "idle"
    new = world.server()
    assert b"PGBOUNCER_" in new.hear()


def test_replication_clients(world_of: WorldOf, tmp_path: Path) -> None:
    """Their connections are their own, and are not looked into."""
    world = world_with(world_of, tmp_path, ROUTING)
    client = world.client(replication="database")
    world.server()
    assert client.frontend.logged_in
    assert client.frontend.stream.interceptor is None


def test_only_for_some(world_of: WorldOf, tmp_path: Path) -> None:
    """Clients of other databases have no interceptor at all."""
    path = write(tmp_path, "r.py", "def rewrite_query(u, q): return 'other'")
    own = f"db = host=10.0.0.1\nnew = host=10.0.0.2 rewrite_query_py_module_file={path}"
    world = world_of(databases=own)
    client, _ = world.pair()
    assert client.frontend.stream.interceptor is None
    assert not client.frontend.stream.indirect
    other = world.client("new")
    server = world.server()
    other.say(query())
    assert server.answer() == query("other")


A, B = Node("a", "10.0.1.1", 5432), Node("b", "10.0.1.2", 5432)
"""The writer of the cluster ``db`` by its own name, and a standby."""


def in_cluster(world: World) -> tuple[Client, Server]:
    """Make a cluster of ``db``; return a client of it, and the writer's server."""
    client, server = world.pair()
    pools = world.service.pools
    spec = pools.spec("db")
    assert spec is not None
    pools.cluster_databases.set(spec, [A, B], [B], ["db", "new"])
    pools.on_new_pool = lambda _pool: None
    return client, server


def test_readers(world_of: WorldOf, tmp_path: Path) -> None:
    """A reader is a standby; writer, key and a node's name are the entry's pool."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, writer = in_cluster(world)
    client.say(query("SELECT 1 --db:reader"))
    assert world.attempts[0].host == "10.0.1.2"
    reader = world.server()
    assert reader.answer() == query("SELECT 1 --db:reader")
    for key, server in (("db:writer", writer), ("b", writer), ("db", writer)):
        client.say(query(f"SELECT 2 --{key}"))
        assert server.answer() == query(f"SELECT 2 --{key}")
    assert named_rows("rules", world.service.view)[0].moves == 2
    world.service.pools.cluster_databases.remove("db")
    client.say(query("SELECT 3 --db:reader"))
    assert writer.answer(), "without a standby the writer is read from"


def test_readers_inside(world_of: WorldOf, tmp_path: Path) -> None:
    """A transaction reads where it is; what it may not do on a standby is refused."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, writer = in_cluster(world)
    client.say(query("BEGIN --db:writer"))
    writer.hear()
    writer.say(ANSWER[:-1] + b"T")
    client.say(query("SELECT 1 --db:reader"))
    assert writer.answer() == query("SELECT 1 --db:reader")
    client.say(query("BEGIN --db:reader"))
    reader = world.server()
    reader.hear()
    reader.say(ANSWER[:-1] + b"T")
    client.say(query("SELECT 1 --db:reader"))
    assert reader.hear() == query("SELECT 1 --db:reader")
    reader.say(ANSWER[:-1] + b"T")
    client.say(query("SELECT 2 --db:writer"))
    assert b"move to db_writer refused" in reader.hear()


def test_statements_of_readers(world_of: WorldOf, tmp_path: Path) -> None:
    """A Bind goes to a reader again, or stays in its transaction."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, writer = in_cluster(world)
    sync = message(b"S")
    client.say(message(b"P", b"a\0SELECT 1 --db:reader\0\0\0") + sync)
    reader = world.server()
    reader.hear()
    reader.say(message(b"1") + message(b"Z", b"I"))
    bind = message(b"B", b"\0a\0" + bytes(6)) + sync
    client.say(bind)
    assert kinds(reader.hear()) == "BS"
    reader.say(message(b"2") + message(b"Z", b"I"))
    client.say(query("BEGIN --db"))
    writer.hear()
    writer.say(ANSWER[:-1] + b"T")
    client.say(bind)
    assert kinds(writer.hear()) == "PBS"
