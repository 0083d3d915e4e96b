"""Clusters and their pools: made from the configuration, kept, dropped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgswitch.pool.families import READER
from pgswitch.tls.options import TlsOptions
from pgswitch.topology.machine import Failure
from pgswitch.topology.nodes import Node
from pgswitch.topology.own_probe import OwnProbe
from pgswitch.topology.probe import Credentials
from tests.fakes.messages import ANSWER, query
from tests.fakes.probes import STANDBY, FakeProbe, writes
from tests.fakes.world import World, WorldOf

ENTRY = "db = host=10.0.0.1 user=app password=secret topology_query='select 1'"
OTHER = "other = host=10.0.0.9"


class Monitored:
    """A world with one cluster, its probes in the test's hands."""

    def __init__(self, world_of: WorldOf, monkeypatch: pytest.MonkeyPatch) -> None:
        """Start it."""
        self.probes: dict[str, FakeProbe] = {}
        self.credentials: list[Credentials] = []

        def make(
            _reactor: object,
            node: Node,
            mine: Credentials,
            lost: Callable[[], None],
            _addresses: object,
        ) -> FakeProbe:
            self.credentials.append(mine)
            self.probes[node.name] = FakeProbe(node, lost)
            return self.probes[node.name]

        monkeypatch.setattr("pgswitch.topology.clusters.PostgresProbe", make)
        self.world: World = world_of(databases=f"{ENTRY}\n{OTHER}")
        self.world.wait(0.5)

    def settle(self) -> None:
        """Have 10.0.0.1 be the writer, 10.0.0.2 a standby."""
        self.probes["10.0.0.1"].answer(writes())
        self.world.wait(0.5)
        self.probes["10.0.0.1"].list("10.0.0.1", "10.0.0.2")
        self.world.wait(0.5)
        self.probes["10.0.0.2"].answer(STANDBY)


@pytest.fixture
def monitored(world_of: WorldOf, monkeypatch: pytest.MonkeyPatch) -> Monitored:
    """Return a monitored cluster."""
    return Monitored(world_of, monkeypatch)


def test_one_cluster(monitored: Monitored) -> None:
    """Only entries with a topology_query; asked with the entry's credentials."""
    assert list(monitored.world.service.clusters.by_key) == ["db"]
    assert monitored.credentials == [
        Credentials("db", "app", "secret", TlsOptions(mode="disable"), "/tmp")
    ]


def test_pools_follow(monitored: Monitored) -> None:
    """A client is served by the configured host, and after a move by the new writer."""
    world = monitored.world
    client, server = world.pair()
    monitored.settle()
    client.say(query())
    assert server.answer() == query()
    client.hear()
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(Failure.REFUSED)
    world.turn()
    assert server.is_gone()
    client.say(query())
    assert client.state() == "waiting"
    monitored.probes["10.0.0.2"].answer(writes(2))
    for attempt in world.attempts:
        assert attempt.host in ("10.0.0.2", "10.0.0.1")
    to_new = next(one for one in world.attempts if one.host == "10.0.0.2").accept()
    to_new.log_in()
    assert to_new.answer() == query()
    assert client.hear() == ANSWER


def test_a_pool_that_is_made_late(monitored: Monitored) -> None:
    """It begins where the others are; while nobody writes, its logins wait."""
    world = monitored.world
    monitored.settle()
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(Failure.REFUSED)
    client = world.client()
    pool = world.pool()
    assert pool.site is not None
    assert pool.site.searching
    assert client.state() == "waiting"


def test_reload(monitored: Monitored) -> None:
    """An unchanged entry goes on as it is; a removed one is watched no more."""
    world = monitored.world
    client, _server = world.pair()
    monitored.settle()
    cluster = world.service.clusters.by_key["db"]
    world.reload(databases=f"{ENTRY}\n{OTHER}", settings="polling_frequency = 0.5")
    assert world.service.clusters.by_key["db"] is cluster
    assert cluster.monitor.pace.polling_frequency == 0.5
    world.reload(databases=f"db = host=10.0.0.1 user=app\n{OTHER}")
    assert world.service.clusters.by_key == {}
    assert world.pool().site is None
    assert all(probe.closed for probe in monitored.probes.values())
    assert not client.is_gone()


def test_another_entry_for_the_same_servers(monitored: Monitored) -> None:
    """After a move, a RELOAD goes on where the writer is now, and closes nothing."""
    world = monitored.world
    client, _server = world.pair()
    monitored.settle()
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(Failure.REFUSED)
    monitored.probes["10.0.0.2"].answer(writes(2))
    client.say(query())
    new = next(one for one in world.attempts if one.host == "10.0.0.2").accept()
    new.log_in()
    new.answer()
    world.reload(databases=f"{ENTRY} pool_size=5\n{OTHER}")
    site = world.pool().site
    assert site is not None
    assert site.place.host == "10.0.0.2"
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
    old.settle()
    known = old.world.service.clusters.known()
    assert known["db"].writer is not None
    assert known["db"].writer.host == "10.0.0.1"
    assert [node.host for node in known["db"].readers] == ["10.0.0.2"]
    new = Monitored(world_of, monkeypatch)
    service = new.world.service
    client, server = new.world.pair()
    configuration = service.configuration
    service.clusters.stop()
    assert not server.backend.link.peer
    service.clusters.go_on_with({**known, "gone": known["db"]})
    names = [spec.name for spec in service.pools.families.readers("db")]
    assert names == ["10.0.0.2"]
    service.clusters.configure(configuration)
    new.world.wait(0.5)
    assert set(new.probes) == {"10.0.0.1", "10.0.0.2"}
    assert server.backend.link.wary
    new.probes["10.0.0.1"].answer(writes())
    new.world.turn()
    client.say(query())
    assert server.answer() == query()
    assert service.clusters.known()["db"].writer == known["db"].writer


def test_a_node_by_its_name(monitored: Monitored) -> None:
    """It leads to the writer, as in pgbouncer-fast-switchover, for rules too."""
    world = monitored.world
    monitored.settle()
    pools = world.service.pools
    client = world.client("10.0.0.2")
    assert client.frontend.database == "db"
    assert client.frontend.pool.key == ("db", "app")
    spec = pools.spec_of_key("10.0.0.2")
    assert spec is not None
    assert spec.name == "db"
    assert pools.spec_of_key("10.0.0.3") is None


def test_an_entry_with_the_name_of_a_node(monitored: Monitored) -> None:
    """It comes with a RELOAD: the name is the entry's from then on."""
    world = monitored.world
    monitored.settle()
    pools = world.service.pools
    spec = pools.context.configuration.databases["db"]
    reader = pools.of_role(spec, "app", READER)
    assert reader.key == ("10.0.0.2", "app")
    entry = "10.0.0.2 = host=10.0.0.7"
    assert world.reload(databases=f"{ENTRY}\n{OTHER}\n{entry}")
    assert pools.of_role(spec, "app", READER).key == ("10.0.0.2.db", "app")
    client = world.client("10.0.0.2")
    assert client.frontend.pool.key == ("10.0.0.2", "app")
    assert client.frontend.pool is not reader
    assert client.frontend.pool.place.host == "10.0.0.7"


def test_a_secret_that_is_no_password(world_of: WorldOf) -> None:
    """The monitor then logs in as the pools do."""
    entry = "db = host=10.0.0.1 user=hashed topology_query='select 1'"
    world = world_of(databases="db = host=10.0.0.1")
    users = world.folder / "users.txt"
    users.write_text(f'{users.read_text()}"hashed" "md5{"0" * 32}"\n')
    world.reload(databases=entry)
    (watch,) = world.service.clusters.by_key["db"].monitor.watches.values()
    assert isinstance(watch.probe, OwnProbe)
