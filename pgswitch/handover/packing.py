"""What is known of a connection, beside its socket, as text for another process.

Plain JSON; bytes stand in it as Latin-1 text, moments as ages, since the clocks of two
processes do not agree.  What is missing when it is read has the value of a connection
at which nothing is under way, so that a process of another version can be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgswitch.topology.clusters import Known
from pgswitch.topology.nodes import Node
from pgswitch.wire.exchange import IDLE
from pgswitch.wire.prepared import Note
from pgswitch.wire.sql_prepared import SqlNote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgswitch.relay.client import ClientLink
    from pgswitch.relay.server import ServerLink
    from pgswitch.wire.exchange import Exchange
    from pgswitch.wire.prepared import ClientStatements
    from pgswitch.wire.statements import Statement, StatementTable

Packed = dict[str, Any]
"""An object of JSON."""


def text(raw: bytes) -> str:
    """Return bytes as text that stands for them."""
    return raw.decode("latin-1")


def raw(text: str) -> bytes:
    """Return the bytes that a text stands for."""
    return text.encode("latin-1")


def age(then: float, now: float) -> float | None:
    """Return how long ago a moment was; None for 0.0, which stands for never."""
    return now - then if then else None


def moment(age: float | None, now: float) -> float:
    """Return the moment that was so long ago, 0.0 for None."""
    return 0.0 if age is None else now - age


# Clients.


def pack_client(link: ClientLink, now: float) -> Packed:
    """Pack what a client asked and prepared; it must be at rest."""
    return {
        "exchange": pack_exchange(link.exchange, now),
        "statements": None
        if link.statements is None
        else pack_statements(link.statements),
        "held": text(b"".join(link.held)),
        "sent": text(link.sent),
        "partly": link.partly,
        "idle": age(link.last_request, now),
        "waits": age(link.waiting_since, now),
    }


def unpack_client(
    link: ClientLink, packed: Packed, table: StatementTable, now: float
) -> None:
    """Give a client that relays already what was packed of its predecessor."""
    unpack_exchange(link.exchange, packed.get("exchange", {}), now)
    if link.statements is not None:
        unpack_statements(link.statements, packed.get("statements") or {}, table)
    held = raw(packed.get("held", ""))
    if held:
        link.held.append(held)
    link.sent = raw(packed.get("sent", ""))
    link.partly = packed.get("partly", False)
    link.last_request = moment(packed.get("idle"), now)
    link.waiting_since = moment(packed.get("waits"), now)


def pack_exchange(exchange: Exchange, now: float) -> Packed:
    """Pack the requests that wait for their answers."""
    return {
        "queue": exchange.queue[exchange.head :],
        "status": exchange.status,
        "clean": exchange.clean,
        "copying": exchange.copying,
        "skipping": exchange.skipping,
        "refusal": text(exchange.refusal),
        "query": age(exchange.query_start, now),
        "transaction": age(exchange.transaction_start, now),
    }


def unpack_exchange(exchange: Exchange, packed: Packed, now: float) -> None:
    """Restore what :func:`pack_exchange` packed."""
    exchange.restore(
        packed.get("queue", []),
        packed.get("status", IDLE),
        raw(packed.get("refusal", "")),
    )
    exchange.clean = packed.get("clean", True)
    exchange.copying = packed.get("copying", False)
    exchange.skipping = packed.get("skipping", False)
    exchange.query_start = moment(packed.get("query"), now)
    exchange.transaction_start = moment(packed.get("transaction"), now)


def pack_statements(statements: ClientStatements) -> Packed:
    """Pack a client's prepared statements, and notes on those under way."""
    return {
        "names": {
            text(name): _pack_statement(one) for name, one in statements.names.items()
        },
        "notes": [
            [
                _pack_statement(note.statement),
                None if note.client_name is None else text(note.client_name),
                note.closes,
                note.parses,
                note.home,
            ]
            for note in statements.notes
        ],
        "sql": _pack_texts(statements.sql.texts),
        "sql_notes": [
            [
                text(note.name),
                *(
                    None if one is None else text(one)
                    for one in (note.on_server, note.by_client)
                ),
                None if note.by_protocol is None else _pack_statement(note.by_protocol),
            ]
            for note in statements.sql.notes
        ],
        "homes": {text(name): home for name, home in statements.homes.items()},
        "spoken": _pack_texts(statements.spoken),
        "bound": text(statements.bound),
    }


def unpack_statements(
    statements: ClientStatements, packed: Packed, table: StatementTable
) -> None:
    """Restore what :func:`pack_statements` packed."""
    for name, one in packed.get("names", {}).items():
        statements.names[raw(name)] = _unpack_statement(one, table)
    for name, home in packed.get("homes", {}).items():
        statements.homes[raw(name)] = home
    for one, name, closes, parses, home in packed.get("notes", []):
        statement = _unpack_statement(one, table)
        if not closes:
            # Whoever holds it besides has it counted.
            statement.references -= 1
        client_name = None if name is None else raw(name)
        statements.notes.append(
            Note(statement, client_name, closes=closes, parses=parses, home=home)
        )
    _unpack_sql(statements, packed, table)


def _unpack_sql(
    statements: ClientStatements, packed: Packed, table: StatementTable
) -> None:
    statements.sql.texts.update(_unpack_texts(packed.get("sql", {})))
    statements.spoken.update(_unpack_texts(packed.get("spoken", {})))
    statements.bound = raw(packed.get("bound", ""))
    for name, on_server, by_client, by_protocol in packed.get("sql_notes", []):
        statements.sql.notes.append(
            SqlNote(
                raw(name),
                None if on_server is None else raw(on_server),
                None if by_client is None else raw(by_client),
                None if by_protocol is None else _unpack_statement(by_protocol, table),
            )
        )


def _pack_texts(texts: dict[bytes, bytes]) -> Packed:
    return {text(name): text(one) for name, one in texts.items()}


def _unpack_texts(packed: Packed) -> dict[bytes, bytes]:
    return {raw(name): raw(one) for name, one in packed.items()}


def _pack_statement(statement: Statement) -> list[object]:
    return [statement.number, text(statement.definition)]


def _unpack_statement(packed: list[Any], table: StatementTable) -> Statement:
    """Return a statement, held once more, under the number that servers know."""
    number, definition = packed
    return table.hold_as(number, raw(definition))


# Servers.


def pack_server(link: ServerLink, now: float) -> Packed:
    """Pack what a server has prepared."""
    return {
        "statements": [
            _pack_statement(one) for one in link.statements.by_number.values()
        ],
        "sql": _pack_texts(link.statements.by_sql),
        "idle": age(link.ready_since, now),
        "stale": link.stale,
    }


def unpack_server(
    link: ServerLink, packed: Packed, table: StatementTable, now: float
) -> None:
    """Give a server what was packed of its predecessor."""
    for one in packed.get("statements", []):
        statement = _unpack_statement(one, table)
        link.statements.add(statement)
        statement.references -= 1
    link.statements.by_sql.update(_unpack_texts(packed.get("sql", {})))
    link.ready_since = moment(packed.get("idle"), now) or now
    link.stale = packed.get("stale", False)
    link.watched = link.stale


# Clusters.


def pack_cluster(known: Known) -> Packed:
    """Pack what is known of a cluster's nodes."""
    writer = [] if known.writer is None else [known.writer]
    return {
        "writer": _pack_nodes(writer),
        "nodes": _pack_nodes(known.nodes),
        "readers": _pack_nodes(known.readers),
        "databases": [known.databases.get(node) for node in known.nodes],
    }


def unpack_cluster(packed: Packed) -> Known:
    """Restore what :func:`pack_cluster` packed."""
    writer, nodes, readers = (
        tuple(Node(*one) for one in packed.get(role, ()))
        for role in ("writer", "nodes", "readers")
    )
    names = zip(nodes, packed.get("databases", ()), strict=False)
    databases = {node: name for node, name in names if name is not None}
    return Known(writer[0] if writer else None, nodes, readers, databases)


def _pack_nodes(nodes: Iterable[Node]) -> list[list[object]]:
    return [[one.name, one.host, one.port] for one in nodes]
