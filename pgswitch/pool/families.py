"""The nodes of clusters as databases of their own, and which of them take readers.

The key of a cluster's entry leads to its writer; ``KEY:reader`` to that of its
standbys which has least to do.  A node has a pool for each user who reads there, under
the first label of its host's name.  To clients and rules that name leads to the writer,
as in pgbouncer-fast-switchover: there is no way past it to one node.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.topology.nodes import Node

READER, WRITER = "reader", "writer"


@dataclass(slots=True)
class Family:
    """One cluster: the database of each node, and those to read from."""

    nodes: dict[Node, DatabaseSpec]
    readers: tuple[Node, ...]


class Families:
    """All clusters, by the key of their entry."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_key: dict[str, Family] = {}
        self._specs: dict[str, DatabaseSpec] = {}

    def set(
        self,
        spec: DatabaseSpec,
        nodes: Iterable[Node],
        readers: Iterable[Node],
        taken: Iterable[str],
        given: Mapping[Node, str] | None = None,
    ) -> None:
        """Take the nodes of the cluster of an entry, and those that may be read from.

        ``taken`` are names that other databases have, ``given`` those that nodes of
        this cluster had in another process.
        """
        self.forget(spec.name)
        names = {*taken, *self._specs}
        family = Family({}, tuple(readers))
        for node in nodes:
            name = (given or {}).get(node, node.name)
            if name in names:
                name = f"{node.name}.{spec.name}"
            family.nodes[node] = self._specs[name] = replace(
                spec, name=name, host=node.host, port=node.port, topology_query=None
            )
        self._by_key[spec.name] = family

    def forget(self, key: str) -> None:
        """Forget a cluster."""
        family = self._by_key.pop(key, None)
        if family is not None:
            for spec in family.nodes.values():
                del self._specs[spec.name]

    def spec(self, name: str) -> DatabaseSpec | None:
        """Return the entry of a node's database, None if it is none."""
        return self._specs.get(name)

    def specs(self) -> list[DatabaseSpec]:
        """Return the entries of all nodes' databases."""
        return [*self._specs.values()]

    def node_of(self, name: str) -> tuple[str, Node] | None:
        """Return the cluster's key and the node that a database is, None for others."""
        if name not in self._specs:
            return None
        for key, family in self._by_key.items():
            for node, spec in family.nodes.items():
                if spec.name == name:
                    return key, node
        return None

    def reader_nodes(self, key: str) -> tuple[Node, ...]:
        """Return the nodes of a cluster that readers may use."""
        family = self._by_key.get(key)
        return () if family is None else family.readers

    def names(self, key: str) -> dict[Node, str]:
        """Return the databases of a cluster's nodes."""
        family = self._by_key.get(key)
        nodes = {} if family is None else family.nodes
        return {node: spec.name for node, spec in nodes.items()}

    def readers(self, key: str) -> list[DatabaseSpec]:
        """Return the databases that readers of a cluster may use."""
        family = self._by_key.get(key)
        if family is None:
            return []
        return [family.nodes[node] for node in family.readers if node in family.nodes]

    def takes_readers(self, name: str) -> bool:
        """Tell whether a node's database is one that readers may use."""
        found = self.node_of(name)
        return found is not None and found[1] in self._by_key[found[0]].readers
