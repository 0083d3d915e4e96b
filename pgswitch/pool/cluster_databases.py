"""The nodes of clusters as databases of their own, and which of them take readers.

The key of a cluster's entry leads to its writer, ``KEY:reader`` to its least busy
standby.  A node has a pool for each user who reads there, named after the first label
of its host name.  For clients and rules that name leads to the writer, as in
pgbouncer-fast-switchover: they cannot choose one node.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec

READER, WRITER = "reader", "writer"


@dataclass(slots=True)
class ClusterDatabase:
    """One cluster: the database of each node, and those to read from."""

    entry: DatabaseSpec
    nodes: dict[Node, DatabaseSpec]
    readers: tuple[Node, ...] = ()
    is_claim: bool = False
    """None of these nodes has been probed yet: their names are only reserved."""


def _at(spec: DatabaseSpec, node: Node, name: str) -> DatabaseSpec:
    """Return the entry of a node's own database."""
    return replace(spec, name=name, host=node.host, port=node.port, topology_query=None)


class ClusterDatabases:
    """All clusters, by the key of their entry."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_key: dict[str, ClusterDatabase] = {}
        self._specs: dict[str, DatabaseSpec] = {}

    def set(
        self,
        spec: DatabaseSpec,
        nodes: Iterable[Node],
        readers: Iterable[Node],
        taken: Iterable[str],
        given: Mapping[Node, str] | None = None,
    ) -> None:
        """Take the nodes of an entry's cluster, and those that are fit for readers.

        Which cluster gets a node's plain name must not depend on which answers first: a
        cluster that shares a node with an earlier one of the file adds its key to all
        names, and one that has not been probed yet gives way to any earlier one.  Once
        given, a name stays.

        :param taken: the names of all databases, in the order of the file.
        :param given: the names that nodes of this cluster had in another process.
        """
        present = self._by_key.get(spec.name)
        if present is not None and not present.is_claim:
            given = {**self.names(spec.name), **(given or {})}
        self.forget(spec.name)
        order = [*taken]
        later = order[order.index(spec.name) + 1 :] if spec.name in order else []
        claims = [self._by_key[key] for key in later if key in self._by_key]
        claims = [one for one in claims if one.is_claim]
        for one in claims:
            self.forget(one.entry.name)
        self._name(
            ClusterDatabase(spec, dict.fromkeys(nodes, spec), tuple(readers)),
            order,
            given,
        )
        for one in claims:
            self._name(one, order)

    def renew(self, spec: DatabaseSpec) -> None:
        """Take a changed entry: the nodes and their names stay."""
        cluster_database = self._by_key[spec.name]
        cluster_database.entry = spec
        for node, before in cluster_database.nodes.items():
            cluster_database.nodes[node] = self._specs[before.name] = _at(
                spec, node, before.name
            )

    def claim(
        self, spec: DatabaseSpec, nodes: Iterable[Node], taken: Iterable[str]
    ) -> None:
        """Reserve names for the nodes of a cluster that has not been probed yet.

        Does nothing if its nodes have names already.
        """
        if spec.name not in self._by_key:
            cluster_database = ClusterDatabase(
                spec, dict.fromkeys(nodes, spec), is_claim=True
            )
            self._name(cluster_database, [*taken])

    def _name(
        self,
        cluster_database: ClusterDatabase,
        order: list[str],
        given: Mapping[Node, str] | None = None,
    ) -> None:
        """Give each node of a cluster its name."""
        spec, names = cluster_database.entry, {*order, *self._specs}
        shares = self._shares(cluster_database, order)
        for node in [*cluster_database.nodes]:
            name = (given or {}).get(node, f"{node.name}.{spec.name}" if shares else "")
            name = name or node.name
            if name in names:
                name = f"{node.name}.{spec.name}"
            cluster_database.nodes[node] = self._specs[name] = _at(spec, node, name)
        self._by_key[spec.name] = cluster_database

    def _shares(self, cluster_database: ClusterDatabase, order: list[str]) -> bool:
        """Tell whether an earlier cluster of the file has one of these nodes."""
        endpoints = {(node.host, node.port) for node in cluster_database.nodes}
        key = cluster_database.entry.name
        earlier = order[: order.index(key)] if key in order else order
        return any(
            (node.host, node.port) in endpoints
            for other in earlier
            if other in self._by_key
            for node in self._by_key[other].nodes
        )

    def forget(self, key: str) -> None:
        """Forget a cluster."""
        cluster_database = self._by_key.pop(key, None)
        if cluster_database is not None:
            for spec in cluster_database.nodes.values():
                del self._specs[spec.name]

    def spec(self, name: str) -> DatabaseSpec | None:
        """Return the entry of a node's database; None for other names."""
        return self._specs.get(name)

    def specs(self) -> list[DatabaseSpec]:
        """Return the entries of all nodes' databases."""
        return [*self._specs.values()]

    def node_of(self, name: str) -> tuple[str, Node] | None:
        """Return the cluster's key and the node of a node's database; else None."""
        if name not in self._specs:
            return None
        for key, cluster_database in self._by_key.items():
            for node, spec in cluster_database.nodes.items():
                if spec.name == name:
                    return key, node
        return None

    def reader_nodes(self, key: str) -> tuple[Node, ...]:
        """Return the nodes of a cluster that are fit for readers."""
        cluster_database = self._by_key.get(key)
        return () if cluster_database is None else cluster_database.readers

    def names(self, key: str) -> dict[Node, str]:
        """Return the names of a cluster's nodes as databases."""
        cluster_database = self._by_key.get(key)
        nodes = {} if cluster_database is None else cluster_database.nodes
        return {node: spec.name for node, spec in nodes.items()}

    def readers(self, key: str) -> list[DatabaseSpec]:
        """Return the databases of the nodes that are fit for readers."""
        cluster_database = self._by_key.get(key)
        if cluster_database is None:
            return []
        return [
            cluster_database.nodes[node]
            for node in cluster_database.readers
            if node in cluster_database.nodes
        ]

    def takes_readers(self, name: str) -> bool:
        """Tell whether a database is that of a node that is fit for readers."""
        found = self.node_of(name)
        return found is not None and found[1] in self._by_key[found[0]].readers
