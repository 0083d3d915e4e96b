"""Which rules hold for whom: keys, reloads, complaints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.messages import query
from tests.fakes.world import WorldOf
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
    assert world.service.view.rules()[0].unknown == 3
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


def test_replication_clients(world_of: WorldOf, tmp_path: Path) -> None:
    """Their connections are their own, and are not looked into."""
    world = world_with(world_of, tmp_path, ROUTING)
    client = world.client(replication="database")
    world.server()
    assert client.frontend.logged_in
    assert client.frontend.link.gate is None


def test_only_for_some(world_of: WorldOf, tmp_path: Path) -> None:
    """Clients of other databases have no gate at all."""
    path = write(tmp_path, "r.py", "def rewrite_query(u, q): return 'other'")
    own = f"db = host=10.0.0.1\nnew = host=10.0.0.2 rewrite_query_py_module_file={path}"
    world = world_of(databases=own)
    client, _ = world.pair()
    assert client.frontend.link.gate is None
    assert not client.frontend.link.indirect
    other = world.client("new")
    server = world.server()
    other.say(query())
    assert server.answer() == query("other")
