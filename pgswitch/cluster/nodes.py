"""Nodes of a cluster: what a topology query's rows say, and what nodes are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Node:
    """One server of a cluster; ``name`` is unique among its nodes."""

    name: str
    host: str | None
    """None for the default unix socket."""
    port: int

    @property
    def place(self) -> tuple[str | None, int]:
        """Where it is: what it is called may change."""
        return self.host, self.port


class BadRow(ValueError):
    """A row of the topology query names no node; the text says why."""


def nodes_of(
    columns: Sequence[str], rows: Iterable[Sequence[object]], port: int
) -> list[Node]:
    """Return the nodes that a topology query's result names, in its order.

    The first column is a host, ``host:port``, ``[IPv6]:port`` or an address; a column
    called ``port`` says the port, ``port`` of the database's entry is the default.  A
    node that is named twice counts once.

    Raises BadRow.
    """
    port_at = next((at for at, name in enumerate(columns) if name == "port"), None)
    places: dict[tuple[str, int], None] = {}
    for row in rows:
        host, own_port = _place(row[0] if row else None)
        if port_at is not None and row[port_at] is not None:
            own_port = _port(str(row[port_at]))
        places[host, own_port or port] = None
    return named(places)


def named(places: Iterable[tuple[str | None, int]]) -> list[Node]:
    """Return nodes for hosts and ports, each with a name of its own.

    That is the first label of the host's name, or the whole of an address; where that
    is taken, the whole name, and then with the port.
    """
    nodes: list[Node] = []
    taken: set[str] = set()
    for host, port in places:
        full = host or "unix"
        tries = (_label(full), full, f"{full}:{port}")
        name = next(one for one in tries if one not in taken or one == tries[-1])
        taken.add(name)
        nodes.append(Node(name, host, port))
    return nodes


def _label(host: str) -> str:
    """Return the first label of a name, an address whole."""
    if host.startswith("/") or _is_address(host):
        return host
    return host.partition(".")[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _place(value: object) -> tuple[str, int | None]:
    """Return host and port out of the first column."""
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
