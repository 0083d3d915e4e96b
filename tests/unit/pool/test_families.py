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
