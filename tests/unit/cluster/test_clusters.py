"""Clusters and their pools: made from the configuration, kept, dropped."""

from __future__ import annotations

import pytest

from pgswitch.admin.statements import named_rows
from pgswitch.cluster.cluster import Switchover
from pgswitch.cluster.cluster_state import WriterState
from pgswitch.cluster.node_checks import CheckResult
from pgswitch.cluster.nodes import ProbeFailure
from tests.fakes.messages import IN_TRANSACTION, message, query
from tests.fakes.monitored import ENTRY, OTHER, Monitored
from tests.fakes.probes import STANDBY, FakeProbe, writes
from tests.fakes.world import Server, WorldOf


def test_one_cluster(monitored: Monitored) -> None:
    """Only entries with a topology_query."""
    assert list(monitored.world.service.clusters.by_key) == ["db"]


def test_reload(monitored: Monitored) -> None:
    """An unchanged entry goes on as it is; a removed one is watched no more."""
    world = monitored.world
    monitored.elect_writer()
    client, _server = world.pair()
    cluster = world.service.clusters.by_key["db"]
    world.reload(databases=f"{ENTRY}\n{OTHER}", settings="polling_frequency = 0.5")
    assert world.service.clusters.by_key["db"] is cluster
    assert cluster.monitor.intervals.polling_frequency == 0.5
    world.reload(databases=f"db = host=10.0.0.1 user=app\n{OTHER}")
    assert world.service.clusters.by_key == {}
    assert world.pool().route is None
    assert all(probe.closed for probe in monitored.probes.values())
    assert not client.is_gone()


def test_another_entry_for_the_same_servers(monitored: Monitored) -> None:
    """After a move, a RELOAD goes on where the writer is now, and closes nothing."""
    world = monitored.world
    monitored.elect_writer()
    client, _server = world.pair()
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    monitored.probes["10.0.0.2"].answer(writes(2))
    client.say(query())
    new = next(one for one in world.attempts if one.host == "10.0.0.2").accept()
    new.log_in()
    new.answer()
    world.reload(databases=f"{ENTRY} pool_size=5\n{OTHER}")
    route = world.pool().route
    assert route is not None
    assert route.target.host == "10.0.0.2"
    world.wait(0.5)
    monitored.probes["10.0.0.1"].answer(STANDBY)
    monitored.probes["10.0.0.2"].answer(writes(2))
    world.turn()
    assert not new.is_gone()
    assert world.service.clusters.by_key["db"].machine.writer == "10.0.0.2"


def test_going_on_where_another_process_was(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is believed to be where it was, and servers there stay."""
    old = Monitored(world_of, monkeypatch)
    old.elect_writer()
    known = old.world.service.clusters.known()
    assert known["db"].writer is not None
    assert known["db"].writer.host == "10.0.0.1"
    assert [node.host for node in known["db"].readers] == ["10.0.0.2"]
    new = Monitored(world_of, monkeypatch)
    new.elect_writer()
    service = new.world.service
    client, server = new.world.pair()
    configuration = service.configuration
    service.clusters.stop()
    assert not server.backend.stream.peer
    service.clusters.inherit({**known, "gone": known["db"]})
    names = [spec.name for spec in service.pools.cluster_databases.readers("db")]
    assert names == ["10.0.0.2"]
    service.clusters.configure(configuration)
    new.world.wait(0.5)
    assert set(new.probes) == {"10.0.0.1", "10.0.0.2"}
    assert server.backend.stream.tracks_loss
    new.probes["10.0.0.1"].answer(writes())
    new.world.turn()
    client.say(query())
    assert server.answer() == query()
    assert service.clusters.known()["db"].writer == known["db"].writer


def test_names_do_not_depend_on_who_answers_first(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster whose nodes do not answer takes no names of an earlier one."""
    monitored = Monitored(world_of, monkeypatch)
    world = monitored.world
    later = "later = host=10.0.0.1 user=app topology_query='select 1'"
    world.reload(databases=f"{ENTRY}\n{OTHER}\n{later}")
    world.wait(0.5)
    cluster_databases = world.service.pools.cluster_databases
    assert [*cluster_databases.names("db").values()] == ["10.0.0.1"]
    # The last probe that was made is that of the later cluster.
    monitored.probes["10.0.0.1"].fail(ProbeFailure.UNFIT, "no keys")
    assert [*cluster_databases.names("later").values()] == ["10.0.0.1.later"]


def test_a_name_that_moves(world_of: WorldOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pool and monitor mean the same machine, and agree before anything is written."""
    monitored = Monitored(world_of, monkeypatch)
    world = monitored.world
    entry = "db = host=pg.example user=app topology_query='select 1'"
    world.reload(databases=entry)
    probe = monitored.probes["pg"]

    def accept(address: str) -> Server:
        attempt = world.attempts[0]
        assert attempt.host == "pg.example"
        attempt.host = address
        server = attempt.accept()
        server.log_in()
        return server

    world.wait(0.5)
    probe.address = "10.0.0.1"
    probe.answer(writes())
    world.wait(0.5)
    probe.list("pg.example")
    client = world.client()
    while world.attempts:
        old = accept("10.0.0.1")
    client.hear()
    client.say(query())
    old.answer()
    world.service._moved("pg.example", frozenset({"10.0.0.1"}))
    world.turn()
    assert old.is_gone()
    client.hear()
    client.say(query())
    world.wait(0.5)
    assert client.state() == "waiting"
    probe.address = "10.0.0.2"
    probe.answer(writes())
    world.turn()
    assert client.state() == "waiting"
    # One that was looked up before, or has come by another address of the name.
    wrong = accept("10.0.0.1")
    assert wrong.is_gone()
    assert client.state() == "waiting"
    right = accept("10.0.0.2")
    assert right.answer() == query()


def test_a_reload_at_the_start(monitored: Monitored) -> None:
    """The nodes still have to speak first, asked as the entry says now."""
    world = monitored.world
    client = world.client()
    for size in (5, 6):
        world.reload(databases=f"{ENTRY} pool_size={size}\n{OTHER}")
        world.wait(0.5)
        assert world.attempts == []
        assert client.state() == "waiting"
    monitored.elect_writer()
    (attempt,) = (one for one in world.attempts if one.host == "10.0.0.1")
    attempt.accept().log_in()
    assert client.frontend.logged_in


def test_an_entry_that_leads_elsewhere(monitored: Monitored) -> None:
    """Its nodes are judged by what was known, as far as they are of that cluster."""
    world = monitored.world
    monitored.probes["10.0.0.1"].answer(writes(5))
    world.wait(0.5)
    monitored.probes["10.0.0.1"].list("10.0.0.1")
    cluster = world.service.clusters.by_key["db"]
    cluster.events.append(Switchover("a cause", "a", 1.0, 2.0, "b"))
    better_pool = ENTRY.replace("10.0.0.1", "10.0.0.7")
    world.reload(databases=f"{better_pool}\n{OTHER}")
    world.wait(0.5)
    cluster = world.service.clusters.by_key["db"]
    assert [event.cause for event in cluster.events] == ["a cause"]
    monitored.probes["10.0.0.7"].answer(writes(4))
    world.wait(0.5)
    monitored.probes["10.0.0.7"].list("10.0.0.7", "10.0.0.8")
    world.wait(0.5)
    monitored.probes["10.0.0.8"].answer(STANDBY)
    assert cluster.machine.writer_state is WriterState.SEARCHING
    assert cluster.machine.nodes["10.0.0.7"].fenced
    world.wait(0.1)
    monitored.probes["10.0.0.8"].answer(writes(6))
    assert cluster.machine.writer == "10.0.0.8"


def test_an_entry_that_names_another_node(monitored: Monitored) -> None:
    """It is the same cluster: nothing is forgotten, no client waits."""
    world = monitored.world
    monitored.elect_writer()
    cluster = world.service.clusters.by_key["db"]
    world.reload(databases=f"{ENTRY.replace('10.0.0.1', '10.0.0.2')}\n{OTHER}")
    assert world.service.clusters.by_key["db"] is cluster
    assert cluster.machine.writer_state is WriterState.KNOWN
    assert world.pool().target.host == "10.0.0.1"


def test_reconnect(monitored: Monitored) -> None:
    """By its name a cluster without a writer is judged again."""
    world = monitored.world
    monitored.elect_writer()
    machine = world.service.clusters.by_key["db"].machine

    def state() -> WriterState:
        return machine.writer_state

    world.service.operations.reconnect("db")
    assert state() is WriterState.KNOWN
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    for database in (None, "other"):
        world.service.operations.reconnect(database)
        assert state() is WriterState.SEARCHING
    world.service.operations.reconnect("db")
    assert (state(), machine.timeline) == (WriterState.STARTING, None)


def test_parameters_of_a_promoted_node(monitored: Monitored) -> None:
    """A connection that was logged in to a standby does not count for it."""
    world = monitored.world
    monitored.elect_writer()
    world.service.pools.pool(world.service.configuration.databases["db"], "app")
    for attempt in [*world.attempts]:
        attempt.accept().log_in(
            in_hot_standby="on" if attempt.host == "10.0.0.2" else "off"
        )
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    monitored.probes["10.0.0.2"].answer(writes(2))
    assert b"in_hot_standby\0off\0" in world.client().hear()


def test_an_entry_with_more_hosts(monitored: Monitored) -> None:
    """Hosts that a RELOAD adds are probed too: no other node may be up."""
    world = monitored.world
    client = world.client()
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    more = ENTRY.replace("10.0.0.1", "10.0.0.1,10.0.0.2")
    world.reload(databases=f"{more}\n{OTHER}")
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    monitored.probes["10.0.0.2"].answer(writes())
    world.wait(0.5)
    monitored.probes["10.0.0.2"].fail(ProbeFailure.UNFIT)
    world.turn()
    (attempt, *_) = (one for one in world.attempts if one.host == "10.0.0.2")
    attempt.accept().log_in()
    assert client.frontend.logged_in


def test_a_reload_reaches_readers_and_calls(monitored: Monitored) -> None:
    """What an entry says of a database goes for that of each node as well."""
    world = monitored.world
    monitored.elect_writer()
    pools, cluster = world.service.pools, world.service.clusters.by_key["db"]
    (before,) = pools.cluster_databases.readers("db")
    pool = pools.pool(before, "app")
    generation = pool.server_connections.generation
    changed = ENTRY.replace("secret", "other") + " dbname=elsewhere pool_size=3"
    world.reload(databases=f"{changed}\n{OTHER}")
    (reader,) = pools.cluster_databases.readers("db")
    assert (reader.name, reader.host) == (before.name, before.host)
    assert (reader.dbname, reader.password) == ("elsewhere", "other")
    assert (pool.spec, pool.server_connections.pool_size) == (reader, 3)
    assert pool.server_connections.generation > generation
    cluster.monitor.make_probe = FakeProbe
    found: list[CheckResult] = []
    cluster.check(found.append)
    assert cluster._checks is not None
    (probe,) = cluster._checks._probes.values()
    assert isinstance(probe, FakeProbe)
    probe.fail(ProbeFailure.FULL)
    assert found == [CheckResult.WELL]


def test_another_process_and_another_entry(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that names other hosts now is followed, as after a RELOAD."""
    old = Monitored(world_of, monkeypatch)
    old.elect_writer()
    known = old.world.service.clusters.known()
    assert [node.host for node in known["db"].seeds] == ["10.0.0.1"]
    world = Monitored(world_of, monkeypatch).world
    service = world.service
    for host, nodes in (("10.0.0.7", "7"), ("10.0.0.2", "12")):
        service.clusters.stop()
        entry = ENTRY.replace("10.0.0.1", host)
        world.reload(databases=f"{entry}\n{OTHER}")
        service.clusters.stop()
        service.clusters.inherit(known)
        service.clusters.configure(service.configuration)
        machine = service.clusters.by_key["db"].machine
        assert {*machine.nodes} == {f"10.0.0.{last}" for last in nodes}
        assert [node.host for node in machine.seeds] == [host]
        assert machine.timeline == 1


def test_who_waits_at_the_start(monitored: Monitored) -> None:
    """Logins wait too, and get the reason; the log counts them."""
    world = monitored.world
    client = world.client()
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED, "no route")
    world.wait(0.1)
    cluster = world.service.clusters.by_key["db"]
    assert cluster.routes.waiting()[0] == 1
    world.wait(130.0)
    words = client.hear()
    assert b"not known yet which node is the writer (10.0.0.1: no route)" in words


def test_logins_after_a_move(monitored: Monitored) -> None:
    """They get the parameters of the new writer, not those of the last one."""
    world = monitored.world
    monitored.elect_writer()
    world.service.pools.pool(world.service.configuration.databases["db"], "app")
    by_host = {one.host: one.accept() for one in [*world.attempts]}
    by_host["10.0.0.1"].log_in(default_transaction_read_only="on")
    assert b"default_transaction_read_only\0on\0" in world.client().hear()
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    early = world.client()
    monitored.probes["10.0.0.2"].answer(writes(2))
    late = world.client()
    assert not early.frontend.logged_in
    assert not late.frontend.logged_in
    by_host["10.0.0.2"].log_in(default_transaction_read_only="off")
    for client in (early, late, world.client()):
        assert b"default_transaction_read_only\0off\0" in client.hear()


def test_logins_at_another_start(monitored: Monitored) -> None:
    """A database that becomes a cluster: a standby's words are not the writer's."""
    world = monitored.world
    world.reload(databases=f"db = host=10.0.0.1 user=app\n{OTHER}")
    first = world.client()
    world.attempts[0].accept().log_in(in_hot_standby="on")
    assert b"in_hot_standby\0on\0" in first.hear()
    world.reload(databases=f"{ENTRY}\n{OTHER}")
    second = world.client()
    world.wait(0.5)
    assert not second.frontend.logged_in
    monitored.probes["10.0.0.1"].answer(writes())
    world.wait(0.5)
    monitored.probes["10.0.0.1"].list("10.0.0.1")
    assert b"in_hot_standby\0off\0" in second.hear()


def test_logins_after_a_move_to_a_known_node(monitored: Monitored) -> None:
    """A standby connection has the parameters for the welcome of logins."""
    world = monitored.world
    monitored.elect_writer()
    world.service.pools.pool(world.service.configuration.databases["db"], "app")
    for one in [*world.attempts]:
        is_old = one.host == "10.0.0.1"
        one.accept().log_in(default_transaction_read_only="on" if is_old else "off")
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    client = world.client()
    assert not client.frontend.logged_in
    monitored.probes["10.0.0.2"].answer(writes(2))
    assert b"default_transaction_read_only\0off\0" in client.hear()


def test_how_a_start_is_shown(monitored: Monitored) -> None:
    """A node that takes writes is no rival before all nodes have answered."""
    world = monitored.world
    monitored.probes["10.0.0.1"].answer(writes())
    world.wait(0.5)
    monitored.probes["10.0.0.1"].list("10.0.0.1", "10.0.0.2")
    first, second = named_rows("topology", world.service.view)
    assert (first.role, first.state) == ("unknown", "up")
    assert first.why == "takes writes; other nodes have not answered yet"
    assert (second.role, second.why) == ("unknown", "no answer yet")


def test_servers_of_the_entry_of_before(monitored: Monitored) -> None:
    """An entry that names other hosts: they are at none of its nodes."""
    world = monitored.world
    monitored.elect_writer()
    client, server = world.pair()
    client.say(query("BEGIN"))
    server.hear()
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    better_pool = ENTRY.replace("10.0.0.1", "10.0.0.7")
    world.reload(databases=f"{better_pool}\n{OTHER}")
    world.wait(0.5)
    monitored.probes["10.0.0.7"].answer(writes(5))
    world.wait(0.5)
    assert not server.is_gone()
    monitored.probes["10.0.0.7"].list("10.0.0.7")
    world.turn()
    assert server.is_gone()
    assert not client.is_gone()
