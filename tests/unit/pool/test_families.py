"""Databases of a cluster's nodes: their names, and who may read there."""

from __future__ import annotations

from pgswitch.config.model import DatabaseSpec
from pgswitch.pool.families import Families
from pgswitch.topology.nodes import Node

SPEC = DatabaseSpec(name="db", host="w", dbname="data", topology_query="q")
A, B = Node("a", "a.example", 5432), Node("b", "b.example", 5433)


def test_nodes_and_readers() -> None:
    """A node's entry is the cluster's, with its own place."""
    families = Families()
    families.set(SPEC, [A, B], [B], ["db"])
    spec = families.spec("b")
    assert spec is not None
    assert (spec.host, spec.port, spec.dbname, spec.topology_query) == (
        "b.example",
        5433,
        "data",
        None,
    )
    assert families.readers("db") == [spec]
    assert families.takes_readers("b")
    assert not families.takes_readers("a")
    assert families.node_of("a") == ("db", A)
    assert families.node_of("db") is None
    families.set(SPEC, [A], [A], ["db"])
    assert families.spec("b") is None
    families.forget("db")
    assert families.readers("db") == []
    assert families.spec("a") is None


def test_names_that_are_taken() -> None:
    """By an entry, or by a node of another cluster."""
    families = Families()
    families.set(SPEC, [A], [], ["db", "a"])
    assert families.spec("a") is None
    assert families.node_of("a.db") == ("db", A)


def test_names_of_another_process() -> None:
    """They stay, whatever came first there, unless somebody else has them here."""
    families = Families()
    families.set(SPEC, [A, B], [], ["db", "b"], {A: "a.db", B: "b"})
    assert families.names("db") == {A: "a.db", B: "b.db"}
    assert families.names("other") == {}
    families.set(SPEC, [A], [A], ["db", "a.db"], {A: "a.other"})
    assert families.names("db") == {A: "a.other"}
    assert families.reader_nodes("db") == (A,)
    assert families.reader_nodes("other") == ()


OTHER = DatabaseSpec(name="other", host="w", dbname="data", topology_query="q")
FILE = ["db", "other"]


def both(families: Families) -> tuple[list[str], list[str]]:
    """Return the names of the nodes of both clusters."""
    return [*families.names("db").values()], [*families.names("other").values()]


def test_two_clusters_of_the_same_nodes() -> None:
    """Whoever answers first: the earlier one of the file has the plain names."""
    for earlier_first in (True, False):
        families = Families()
        for spec in (SPEC, OTHER):
            families.claim(spec, [A], FILE)
        assert both(families) == (["a"], ["a.other"])
        for spec in (SPEC, OTHER) if earlier_first else (OTHER, SPEC):
            families.set(spec, [A, B], [B], FILE)
        assert both(families) == (["a", "b"], ["a.other", "b.other"])


def test_a_cluster_that_nobody_has_asked_gives_way() -> None:
    """Its host has been named first, but perhaps it never answers."""
    families = Families()
    families.claim(SPEC, [A], FILE)
    families.claim(OTHER, [B], FILE)
    assert both(families) == (["a"], ["b"])
    families.set(SPEC, [A, B], [], FILE)
    assert both(families) == (["a", "b"], ["b.other"])
    families.claim(OTHER, [A, B], FILE)
    assert both(families) == (["a", "b"], ["b.other"])
    assert families.node_of("b") == ("db", B)


def test_names_stay() -> None:
    """A cluster that has answered is not called otherwise for another's new node."""
    families = Families()
    families.set(OTHER, [B], [B], FILE)
    families.set(SPEC, [A, B], [B], FILE)
    assert both(families) == (["a", "b.db"], ["b"])
    families.set(OTHER, [B, A], [B], FILE)
    assert both(families) == (["a", "b.db"], ["b", "a.other"])
