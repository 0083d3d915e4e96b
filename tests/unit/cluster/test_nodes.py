"""What the rows of a topology query say, and what is known of a node."""

from __future__ import annotations

import pytest

from pgswitch.cluster.nodes import (
    BadRow,
    Node,
    NodeReport,
    NodeStatus,
    ProbeFailure,
    named,
    nodes_of,
)


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("db1.example.com", "db1.example.com", 5432),
        ("db1.example.com:6000", "db1.example.com", 6000),
        (" 10.0.0.1 ", "10.0.0.1", 5432),
        ("10.0.0.1:7000", "10.0.0.1", 7000),
        ("fd00::1", "fd00::1", 5432),
        ("[fd00::1]", "fd00::1", 5432),
        ("[fd00::1]:7000", "fd00::1", 7000),
    ],
)
def test_first_column(value: str, host: str, port: int) -> None:
    """A name or an address, with a port or without."""
    (node,) = nodes_of(["endpoint"], [[value]], 5432)
    assert (node.host, node.port) == (host, port)


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "a b", "db:", "db:x", "db:0", "db:70000", "[::1", "[::1]x", ":5"],
)
def test_no_host(value: object) -> None:
    """A row that names nothing is refused, not skipped."""
    with pytest.raises(BadRow):
        nodes_of(["endpoint"], [["good"], [value]], 5432)


def test_port_column() -> None:
    """It says more than the first column; NULL says nothing."""
    rows = [["a", 1, 6001], ["b:7000", 2, 6002], ["c:7000", 3, None], ["d", 4, None]]
    nodes = nodes_of(["endpoint", "id", "port"], rows, 5432)
    assert [node.port for node in nodes] == [6001, 6002, 7000, 5432]


def test_a_node_named_twice() -> None:
    """It counts once, where it comes first."""
    nodes = nodes_of(["h"], [["a"], ["b"], ["a"], ["a:1"]], 5432)
    assert [(node.host, node.port) for node in nodes] == [
        ("a", 5432),
        ("b", 5432),
        ("a", 1),
    ]


def test_no_rows() -> None:
    """A cluster may be empty as far as the query knows."""
    assert nodes_of(["h"], [], 5432) == []


def test_names() -> None:
    """The first label; the whole host, then the port where that is taken."""
    places = [
        ("db.eu.example", 1),
        ("db.us.example", 1),
        ("db.us.example", 2),
        ("10.0.0.1", 1),
        ("10.0.0.2", 1),
        (None, 1),
    ]
    assert [node.name for node in named(places)] == [
        "db",
        "db.us.example",
        "db.us.example:2",
        "10.0.0.1",
        "10.0.0.2",
        "unix",
    ]
    assert named([("a", 1)]) == [Node("a", "a", 1)]


def test_whether_a_node_writes() -> None:
    """Only one that has said so; silence is no answer."""
    status = NodeStatus(Node("a", "a", 1))
    assert not status.writes
    status.report = NodeReport(in_recovery=True)
    assert not status.writes
    status.report = NodeReport(in_recovery=False)
    assert status.writes


def test_failures_differ() -> None:
    """Each has words of its own, for the log and the column ``why``."""
    assert len({failure.value for failure in ProbeFailure}) == len(ProbeFailure)
