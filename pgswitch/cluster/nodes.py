"""Nodes of a cluster: what they are called, and what is known of each.

:func:`nodes_of` reads the rows of a topology query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Node:
    """One server of a cluster; ``name`` is unique among its nodes."""

    name: str
    host: str | None
    """None for the default unix socket."""
    port: int

    @property
    def endpoint(self) -> tuple[str | None, int]:
        """Host and port, which identify a node: its name may change."""
        return self.host, self.port


class ProbeFailure(Enum):
    """Why a probe of a node failed."""

    LOST = "the connection was lost"
    REFUSED = "cannot connect"
    SILENT = "no answer in time"
    NOT_READY = "does not take connections"
    UNFIT = "it answers, but not the question"
    FULL = "it has no room for another connection"


ALIVE_FAILURES = (ProbeFailure.UNFIT, ProbeFailure.FULL)
"""The node is alive, but does not say whether it is in recovery."""
TRANSIENT_FAILURES = (ProbeFailure.FULL, ProbeFailure.NOT_READY)
"""The node may free a connection slot or finish its start-up any moment."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node's answer to a probe."""

    in_recovery: bool
    timeline: int | None = None
    """Where a writer writes; None: unknown."""
    lsn: int | None = None
    """How far it has written or replayed, in bytes."""
    lag_s: float | None = None
    """For how many seconds a standby has had WAL to replay; None: unknown."""
    system: int | None = None
    """The system identifier that all nodes of a cluster share; None: unknown."""
    source: str | None = None
    """Where a standby gets its WAL: the status of its WAL receiver, ``archive`` or
    ``none``; None: unknown."""
    follows: int | None = None
    """The timeline that a standby receives; None: unknown."""


@dataclass(slots=True)
class NodeStatus:
    """What is known of one node."""

    node: Node
    report: NodeReport | None = None
    """The last answer; None if the last probe failed."""
    answered_at: float = 0.0
    failure: str = ""
    fenced: bool = False
    is_probed: bool = False
    """It has answered or failed since the machine began to decide."""
    is_listed: bool = True
    """The list of nodes names it, or there is no list."""
    has_no_list: bool = False
    """It could not give the list of nodes."""
    rejects_probe: bool = False
    """It is alive, but does not say whether it is in recovery."""

    @property
    def writes(self) -> bool:
        """Whether its last answer says that it takes writes."""
        return self.report is not None and not self.report.in_recovery


def merge_list(
    former: Mapping[str, NodeStatus],
    nodes: Iterable[Node],
    keep: Callable[[NodeStatus], bool],
) -> dict[str, NodeStatus]:
    """Return the nodes of a new list, by name, with what is known of them.

    :param keep: tells whether to keep a node that the list does not name.
    """
    known = {status.node.endpoint: status for status in former.values()}
    merged: dict[str, NodeStatus] = {}
    for node in nodes:
        status = (
            known.pop(node.endpoint) if node.endpoint in known else NodeStatus(node)
        )
        status.node, status.is_listed = node, True
        merged[node.name] = status
    for status in known.values():
        if keep(status):
            add_unlisted(merged, status)
    return merged


def add_unlisted(nodes: dict[str, NodeStatus], status: NodeStatus) -> None:
    """Add a node that the list does not name, under a name that is free."""
    status.is_listed = False
    if status.node.name in nodes:
        full = f"{status.node.host or 'unix'}:{status.node.port}"
        status.node = replace(status.node, name=full)
    nodes[status.node.name] = status


class BadRow(ValueError):
    """A row of the topology query that names no node; the text says why."""


def nodes_of(
    columns: Sequence[str], rows: Iterable[Sequence[object]], port: int
) -> list[Node]:
    """Return the nodes that a topology query's result names, in its order.

    The first column is a host, ``host:port``, ``[IPv6]:port`` or an address; a column
    called ``port`` has the port.  A node that is named twice counts once.

    :param port: the default port, that of the database's entry.
    :raises BadRow: a row names no node.
    """
    port_at = next((at for at, name in enumerate(columns) if name == "port"), None)
    endpoints: dict[tuple[str, int], None] = {}
    for row in rows:
        host, own_port = _parse_endpoint(row[0] if row else None)
        if port_at is not None and row[port_at] is not None:
            own_port = _port(str(row[port_at]))
        endpoints[host, own_port or port] = None
    return named(endpoints)


def named(endpoints: Iterable[tuple[str | None, int]]) -> list[Node]:
    """Return nodes for hosts and ports, each with a unique name.

    The name is the first label of the host name, or the whole address; if another node
    has that name already, the whole host name, and finally with the port.
    """
    nodes: list[Node] = []
    taken: set[str] = set()
    for host, port in endpoints:
        full = host or "unix"
        tries = (_label(full), full, f"{full}:{port}")
        name = next(one for one in tries if one not in taken or one == tries[-1])
        taken.add(name)
        nodes.append(Node(name, host, port))
    return nodes


def _label(host: str) -> str:
    """Return the first label of a host name; an address as it is."""
    if host.startswith("/") or _is_address(host):
        return host
    return host.partition(".")[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _parse_endpoint(value: object) -> tuple[str, int | None]:
    """Return host and port from the first column."""
    text = "" if value is None else str(value).strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadRow(f"not a host: {text!r}")
        return _checked(host), _port(rest[1:]) if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return _checked(host), _port(port)
    return _checked(text), None


def _checked(host: str) -> str:
    if not host or any(character.isspace() for character in host):
        raise BadRow(f"not a host: {host!r}")
    return host


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise BadRow(f"not a port: {text!r}")
    return int(text)
