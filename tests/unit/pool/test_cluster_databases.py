"""Databases of a cluster's nodes: their names, and who may read there."""

from __future__ import annotations

from pgswitch.cluster.nodes import Node
from pgswitch.config.model import DatabaseSpec
from pgswitch.pool.cluster_databases import ClusterDatabases

SPEC = DatabaseSpec(name="db", host="w", dbname="data", topology_query="q")
A, B = Node("a", "a.example", 5432), Node("b", "b.example", 5433)


def test_nodes_and_readers() -> None:
    """A node's entry is the cluster's, with its own place."""
    cluster_databases = ClusterDatabases()
    cluster_databases.set(SPEC, [A, B], [B], ["db"])
    spec = cluster_databases.spec("b")
    assert spec is not None
    assert (spec.host, spec.port, spec.dbname, spec.topology_query) == (
        "b.example",
        5433,
        "data",
        None,
    )
    assert cluster_databases.readers("db") == [spec]
    assert cluster_databases.takes_readers("b")
    assert not cluster_databases.takes_readers("a")
    assert cluster_databases.node_of("a") == ("db", A)
    assert cluster_databases.node_of("db") is None
    cluster_databases.set(SPEC, [A], [A], ["db"])
    assert cluster_databases.spec("b") is None
    cluster_databases.remove("db")
    assert cluster_databases.readers("db") == []
    assert cluster_databases.spec("a") is None


def test_names_that_are_taken() -> None:
    """By an entry, or by a node of another cluster."""
    cluster_databases = ClusterDatabases()
    cluster_databases.set(SPEC, [A], [], ["db", "a"])
    assert cluster_databases.spec("a") is None
    assert cluster_databases.node_of("a.db") == ("db", A)


def test_names_of_another_process() -> None:
    """They stay, whatever its order of connecting, unless they are in use here."""
    cluster_databases = ClusterDatabases()
    cluster_databases.set(SPEC, [A, B], [], ["db", "b"], {A: "a.db", B: "b"})
    assert cluster_databases.names("db") == {A: "a.db", B: "b.db"}
    assert cluster_databases.names("other") == {}
    cluster_databases.set(SPEC, [A], [A], ["db", "a.db"], {A: "a.other"})
    assert cluster_databases.names("db") == {A: "a.other"}
    assert cluster_databases.reader_nodes("db") == (A,)
    assert cluster_databases.reader_nodes("other") == ()


OTHER = DatabaseSpec(name="other", host="w", dbname="data", topology_query="q")
FILE = ["db", "other"]


def both(cluster_databases: ClusterDatabases) -> tuple[list[str], list[str]]:
    """Return the names of the nodes of both clusters."""
    return [*cluster_databases.names("db").values()], [
        *cluster_databases.names("other").values()
    ]


def test_two_clusters_of_the_same_nodes() -> None:
    """The earlier one of the file has the plain names, whichever answers first."""
    for earlier_first in (True, False):
        cluster_databases = ClusterDatabases()
        for spec in (SPEC, OTHER):
            cluster_databases.claim(spec, [A], FILE)
        assert both(cluster_databases) == (["a"], ["a.other"])
        for spec in (SPEC, OTHER) if earlier_first else (OTHER, SPEC):
            cluster_databases.set(spec, [A, B], [B], FILE)
        assert both(cluster_databases) == (["a", "b"], ["a.other", "b.other"])


def test_a_cluster_not_yet_asked_gives_way() -> None:
    """Its host has been named first, but perhaps it never answers."""
    cluster_databases = ClusterDatabases()
    cluster_databases.claim(SPEC, [A], FILE)
    cluster_databases.claim(OTHER, [B], FILE)
    assert both(cluster_databases) == (["a"], ["b"])
    cluster_databases.set(SPEC, [A, B], [], FILE)
    assert both(cluster_databases) == (["a", "b"], ["b.other"])
    cluster_databases.claim(OTHER, [A, B], FILE)
    assert both(cluster_databases) == (["a", "b"], ["b.other"])
    assert cluster_databases.node_of("b") == ("db", B)


def test_names_stay() -> None:
    """A cluster that has answered is not called otherwise for another's new node."""
    cluster_databases = ClusterDatabases()
    cluster_databases.set(OTHER, [B], [B], FILE)
    cluster_databases.set(SPEC, [A, B], [B], FILE)
    assert both(cluster_databases) == (["a", "b.db"], ["b"])
    cluster_databases.set(OTHER, [B, A], [B], FILE)
    assert both(cluster_databases) == (["a", "b.db"], ["b", "a.other"])
