"""Serializes the state of a connection for another process.

The format is JSON; bytes become Latin-1 text, times become ages, because the clocks of
two processes differ.  A missing key gets the value of an idle connection, so a process
can read the state of another version.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pgswitch.cluster.cluster import LossCounts, Switchover
from pgswitch.cluster.cluster_state import Knowledge
from pgswitch.cluster.clusters import ClusterSnapshot
from pgswitch.cluster.nodes import Node
from pgswitch.wire.exchange import IDLE
from pgswitch.wire.prepared import KEEPS, Note
from pgswitch.wire.sql_text import Action, SqlText, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.relay.server_stream import ServerStream
    from pgswitch.wire.exchange import Exchange
    from pgswitch.wire.prepared import ClientStatements
    from pgswitch.wire.statements import Statement, StatementTable

Packed = dict[str, Any]
"""A JSON object."""


def text(raw: bytes) -> str:
    """Return bytes as text for JSON."""
    return raw.decode("latin-1")


def raw(text: str) -> bytes:
    """Return the bytes of a text from :func:`text`."""
    return text.encode("latin-1")


def age(then: float, now: float) -> float | None:
    """Return the age of a time in seconds; None for 0.0, which means never."""
    return now - then if then else None


def moment(age: float | None, now: float) -> float:
    """Return the time of an age; 0.0 for None."""
    return 0.0 if age is None else now - age


# Clients.


def pack_client(stream: ClientStream, now: float) -> Packed:
    """Pack a client's requests and prepared statements; it must be suspended."""
    return {
        "exchange": pack_exchange(stream.exchange, now),
        "statements": None
        if stream.statements is None
        else pack_statements(stream.statements),
        "held": text(b"".join(stream.held)),
        "sent": text(b"".join(stream.sent)),
        "partly": stream.partly,
        "parsed_here": stream.parsed_here,
        "owned": stream.server is not None and stream.server.owned,
        "idle": age(stream.last_request, now),
        "waits": age(stream.waiting_since, now),
    }


def unpack_client(
    stream: ClientStream, packed: Packed, table: StatementTable, now: float
) -> None:
    """Restore what :func:`pack_client` packed, on a client that already relays."""
    unpack_exchange(stream.exchange, packed.get("exchange", {}), now)
    if stream.statements is not None:
        unpack_statements(stream.statements, packed.get("statements") or {}, table)
    held = raw(packed.get("held", ""))
    if held:
        stream.held.append(held)
    if stream.exchange.awaited:
        stream.suspend()
    stream.remember_again(raw(packed.get("sent", "")))
    stream.partly = packed.get("partly", False)
    stream.parsed_here = packed.get("parsed_here", False)
    stream.last_request = moment(packed.get("idle"), now)
    stream.waiting_since = moment(packed.get("waits"), now)


def pack_exchange(exchange: Exchange, now: float) -> Packed:
    """Pack the requests that await their answers."""
    return {
        "queue": exchange.queue[exchange.head :],
        "status": exchange.status,
        "clean": exchange.clean,
        "copying": exchange.copying,
        "skipping": exchange.skipping,
        "open": exchange.open,
        "awaited": exchange.awaited,
        "errand": exchange.internal_query,
        "resets": exchange.resets,
        "doubts": exchange.doubts(),
        "withheld": exchange.withheld,
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
    exchange.open = packed.get("open", exchange.skipping)
    if packed.get("awaited", False):
        exchange.await_answers()
    exchange.internal_query = packed.get("errand", False)
    exchange.resets = packed.get("resets", False)
    exchange.withheld = packed.get("withheld", [])
    exchange.take_doubts(packed.get("doubts", [False] * 6))
    exchange.query_start = moment(packed.get("query"), now)
    exchange.transaction_start = moment(packed.get("transaction"), now)


def pack_statements(statements: ClientStatements) -> Packed:
    """Pack a client's prepared statements, and the notes of those in progress."""
    sql = statements.sql
    return {
        "names": {
            text(name): _pack_statement(one) for name, one in statements.names.items()
        },
        "notes": [_pack_note(note) for note in statements.pending()],
        "sealed": statements.sealed,
        "busy": statements.busy,
        "homes": {text(name): home for name, home in statements.homes.items()},
        "sql": _pack_texts(sql.texts),
        "under_way": [
            [[one.kind, text(one.name), text(one.text)] for one in actions]
            for actions in sql.under_way
        ],
        "parsed": _pack_sql_texts(sql.parsed),
        "portals": _pack_sql_texts(sql.portals),
    }


def _pack_note(note: Note) -> list[object]:
    statement = None if note.statement is None else _pack_statement(note.statement)
    return [
        note.kind,
        statement,
        text(note.name),
        note.was_own,
        text(note.text),
        note.home,
    ]


def unpack_statements(
    statements: ClientStatements, packed: Packed, table: StatementTable
) -> None:
    """Restore what :func:`pack_statements` packed."""
    for name, one in packed.get("names", {}).items():
        statements.names[raw(name)] = _unpack_statement(one, table)
    for name, home in packed.get("homes", {}).items():
        statements.homes[raw(name)] = home
    for kind, one, name, was_own, prepare, home in packed.get("notes", []):
        statement = None if one is None else _unpack_statement(one, table)
        if statement is not None and kind not in KEEPS:
            # Its other holders have counted it.
            statement.references -= 1
        statements.notes.append(
            Note(
                kind,
                statement,
                raw(name),
                was_own=was_own,
                text=raw(prepare),
                home=home,
            )
        )
    statements.sealed = packed.get("sealed", False)
    statements.busy = packed.get("busy", False)
    sql = statements.sql
    sql.texts.update(_unpack_texts(packed.get("sql", {})))
    for actions in packed.get("under_way", []):
        sql.under_way.append(
            deque(
                Action(kind, raw(name), raw(prepare)) for kind, name, prepare in actions
            )
        )
    sql.parsed.update(_unpack_sql_texts(packed.get("parsed", {})))
    sql.portals.update(_unpack_sql_texts(packed.get("portals", {})))


def _pack_sql_texts(texts: dict[bytes, SqlText]) -> Packed:
    return {text(name): text(one.text) for name, one in texts.items()}


def _unpack_sql_texts(packed: Packed) -> dict[bytes, SqlText]:
    return {raw(name): read(raw(one)) for name, one in packed.items()}


def _pack_texts(texts: dict[bytes, bytes]) -> Packed:
    return {text(name): text(one) for name, one in texts.items()}


def _unpack_texts(packed: Packed) -> dict[bytes, bytes]:
    return {raw(name): raw(one) for name, one in packed.items()}


def _pack_statement(statement: Statement) -> list[object]:
    return [statement.number, text(statement.definition)]


def _unpack_statement(packed: list[Any], table: StatementTable) -> Statement:
    """Return a statement, with one more reference, under its number on servers."""
    number, definition = packed
    return table.hold_as(number, raw(definition))


# Servers.


def pack_server(stream: ServerStream, now: float) -> Packed:
    """Pack a server's prepared statements and flags."""
    return {
        "statements": [
            _pack_statement(one) for one in stream.statements.by_number.values()
        ],
        "own": [text(name) for name in stream.statements.own],
        "unknown": stream.statements.has_unknown,
        "doubtful": [*stream.statements.doubtful],
        "owned": stream.owned,
        "idle": age(stream.ready_since, now),
        "stale": stream.close_needed,
    }


def unpack_server(
    stream: ServerStream, packed: Packed, table: StatementTable, now: float
) -> None:
    """Restore what :func:`pack_server` packed."""
    for one in packed.get("statements", []):
        statement = _unpack_statement(one, table)
        stream.statements.add(statement)
        statement.references -= 1
    stream.statements.is_over = True  # Our limit may differ.
    stream.statements.own.update(dict.fromkeys(map(raw, packed.get("own", [])), 1))
    stream.statements.has_unknown = packed.get("unknown", False)
    stream.statements.doubtful.update(dict.fromkeys(packed.get("doubtful", []), 1))
    stream.owned = packed.get("owned", False)
    stream.ready_since = moment(packed.get("idle"), now) or now
    stream.close_needed = packed.get("stale", False)
    stream.drop_release_check()


# Clusters.


def pack_cluster(known: ClusterSnapshot, now: float) -> Packed:
    """Pack the state of a cluster's nodes, and its switchovers."""
    writer = [] if known.writer is None else [known.writer]
    return {
        "writer": _pack_nodes(writer),
        "nodes": _pack_nodes(known.nodes),
        "seeds": _pack_nodes(known.seeds),
        "readers": _pack_nodes(known.readers),
        "databases": [known.databases.get(node) for node in known.nodes],
        "knowledge": _pack_knowledge(known.knowledge),
        "events": [_pack_event(event, now) for event in known.events],
    }


def _pack_knowledge(knowledge: Knowledge) -> Packed:
    """Pack the knowledge of a machine, without its nodes, which are packed apart."""
    packed = asdict(knowledge)
    del packed["nodes"]
    return {**packed, "fenced": [*knowledge.fenced]}


def _unpack_knowledge(packed: Packed) -> Knowledge:
    return Knowledge(
        writer=packed.get("writer", ""),
        timeline=packed.get("timeline"),
        system=packed.get("system"),
        fenced=frozenset(packed.get("fenced", ())),
        is_listed=packed.get("is_listed", False),
    )


_MOMENTS = ("suspected_at", "lost_at", "found_at", "served_at")


def _pack_event(event: Switchover, now: float) -> Packed:
    packed = asdict(event)
    packed["loss_counts"]["errors"] = dict(event.loss_counts.errors)
    return packed | {name: age(packed[name], now) for name in _MOMENTS}


def _unpack_event(packed: Packed, now: float) -> Switchover:
    loss_counts = packed["loss_counts"]
    loss_counts = LossCounts(
        **{**loss_counts, "errors": Counter(loss_counts["errors"])}
    )
    moments = {name: moment(packed[name], now) for name in _MOMENTS}
    return Switchover(**{**packed, **moments, "loss_counts": loss_counts})


def unpack_cluster(packed: Packed, now: float) -> ClusterSnapshot:
    """Restore what :func:`pack_cluster` packed."""
    writer, nodes, seeds, readers = (
        tuple(Node(*one) for one in packed.get(role, ()))
        for role in ("writer", "nodes", "seeds", "readers")
    )
    names = zip(nodes, packed.get("databases", ()), strict=False)
    databases = {node: name for node, name in names if name is not None}
    return ClusterSnapshot(
        writer[0] if writer else None,
        nodes,
        readers,
        databases,
        _unpack_knowledge(packed.get("knowledge", {})),
        tuple(_unpack_event(one, now) for one in packed.get("events", ())),
        seeds,
    )


def _pack_nodes(nodes: Iterable[Node]) -> list[list[object]]:
    return [[one.name, one.host, one.port] for one in nodes]
