"""The pools of a cluster: they go where it says, and tell it what it asks."""

from __future__ import annotations

from pgswitch.cluster.nodes import ProbeFailure
from pgswitch.cluster.routes import PoolRoutes
from pgswitch.pool.cluster_databases import READER
from tests.fakes.messages import ANSWER, query
from tests.fakes.monitored import ENTRY, OTHER, Monitored
from tests.fakes.probes import writes


def test_pools_follow(monitored: Monitored) -> None:
    """A client is served by the configured host, and after a move by the new writer."""
    world = monitored.world
    monitored.elect_writer()
    client, server = world.pair()
    client.say(query())
    assert server.answer() == query()
    client.hear()
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
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
    """It begins where the others are; without a writer, its logins wait."""
    world = monitored.world
    monitored.elect_writer()
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    client = world.client()
    pool = world.pool()
    assert pool.route is not None
    assert pool.route.searching
    assert client.state() == "waiting"


def test_a_node_by_its_name(monitored: Monitored) -> None:
    """It leads to the writer, as in pgbouncer-fast-switchover, for rules too."""
    world = monitored.world
    monitored.elect_writer()
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
    monitored.elect_writer()
    pools = world.service.pools
    spec = pools.context.configuration.databases["db"]
    reader = pools.pool_for_role(spec, "app", READER)
    assert reader.key == ("10.0.0.2", "app")
    entry = "10.0.0.2 = host=10.0.0.7"
    assert world.reload(databases=f"{ENTRY}\n{OTHER}\n{entry}")
    assert pools.pool_for_role(spec, "app", READER).key == ("10.0.0.2.db", "app")
    client = world.client("10.0.0.2")
    assert client.frontend.pool.key == ("10.0.0.2", "app")
    assert client.frontend.pool is not reader
    assert client.frontend.pool.target.host == "10.0.0.7"


def test_what_the_cluster_asks(monitored: Monitored) -> None:
    """How many wait and for how long, and when a node last answered a client."""
    world = monitored.world
    monitored.elect_writer()
    client, server = world.pair()
    routes = world.service.clusters.by_key["db"].routes
    assert isinstance(routes, PoolRoutes)
    world.wait(1.0)
    client.say(query())
    server.answer()
    answered = world.reactor.seconds()
    writer, standby = world.service.clusters.known()["db"].nodes
    assert routes.client_answered_at(writer) == answered
    assert routes.client_answered_at(standby) == float("-inf")
    assert routes.waiting() == (0, 0.0)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED)
    client.say(query())
    world.wait(0.5)
    assert routes.waiting() == (1, 0.5)
