"""Serializes connections and statistics for the process that takes over.

The format is JSON; bytes become Latin-1 text, times become ages, because the clocks of
two processes differ.  A missing key gets the value of an idle connection, so a process
can read the state of another version.

Counters are packed by pool; our errors and the recent times for percentiles are packed
by database, as the console shows them.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pgswitch.cluster.cluster import LossCounts, Switchover
from pgswitch.cluster.cluster_state import Knowledge
from pgswitch.cluster.clusters import ClusterSnapshot
from pgswitch.cluster.nodes import Node
from pgswitch.stats.counters import NAMES, ErrorCount
from pgswitch.stats.times import BUCKETS, Times, TimesOf
from pgswitch.wire.constants import STATUS_IDLE
from pgswitch.wire.prepared import KEEPS, Note
from pgswitch.wire.sql_text import Action, SqlText, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgswitch.admin.statistics import Statistics
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.relay.server_stream import ServerStream
    from pgswitch.stats.counters import Counters
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
        "partly": stream.partly_answered,
        "parsed_here": stream.rewriter is not None and stream.rewriter.parsed_here,
        "owned": stream.server is not None and stream.server.unnamed_is_clients,
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
    stream.partly_answered = packed.get("partly", False)
    if stream.rewriter is not None:
        stream.rewriter.parsed_here = packed.get("parsed_here", False)
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
        packed.get("status", STATUS_IDLE),
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
        "owned": stream.unnamed_is_clients,
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
    stream.unnamed_is_clients = packed.get("owned", False)
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
    # The key is that of other versions, which read this or have written it.
    packed["tally"] = packed.pop("loss_counts")
    packed["tally"]["errors"] = dict(event.loss_counts.errors)
    return packed | {name: age(packed[name], now) for name in _MOMENTS}


def _unpack_event(packed: Packed, now: float) -> Switchover:
    rest = {name: value for name, value in packed.items() if name != "tally"}
    counts = packed["tally"]
    loss_counts = LossCounts(**{**counts, "errors": Counter(counts["errors"])})
    moments = {name: moment(packed[name], now) for name in _MOMENTS}
    return Switchover(**{**rest, **moments, "loss_counts": loss_counts})


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


def pack_counts(
    context: ServiceContext, pools: Pools, statistics: Statistics
) -> Packed:
    """Pack the statistics of SHOW STATS, ERRORS and STATS_PERCENTILES."""
    return {
        "counters": [[*pool.key, pool.idle_pool.counters.values()] for pool in pools],
        "console": context.console_counters.values(),
        "errors": [
            [*pool.key, {text(code): n for code, n in found.items()}]
            for pool in pools
            if (found := pool.idle_pool.counters.errors)
        ],
        "failures": list(context.failures),
        "times": {
            name: [_pack_times(one) for one in times]
            for name, times in statistics.recent().items()
        },
    }


def unpack_counts(
    packed: Packed, context: ServiceContext, pools: Pools, statistics: Statistics
) -> None:
    """Restore what was packed, except for databases that no longer exist."""
    for database, user, counts in packed.get("counters", []):
        spec = pools.spec(database)
        if spec is not None:
            _restore(pools.pool_of(spec, user).idle_pool.counters, counts)
    if "console" in packed:  # Missing from an older process.
        _restore(context.console_counters, packed["console"])
    for database, user, errors in packed.get("errors", []):
        spec = pools.spec(database)
        if spec is not None:
            found = pools.pool_of(spec, user).idle_pool.counters.errors
            found.update({raw(code): number for code, number in errors.items()})
    for failure in packed.get("failures", []):
        context.failures.restore(ErrorCount(*failure))
    statistics.go_on_with(
        {
            name: TimesOf(*map(_unpack_times, times))
            for name, times in packed.get("times", {}).items()
        }
    )


def _restore(counters: Counters, counts: Iterable[int]) -> None:
    """Set counters to counts, which are in the order of NAMES."""
    for name, number in zip(NAMES, counts, strict=True):
        setattr(counters, name, number)


def _pack_times(times: Times) -> list[object]:
    """Pack a histogram: the longest time and the nonempty buckets."""
    filled = {str(bucket): n for bucket, n in enumerate(times.buckets) if n}
    return [times.longest, filled]


def _unpack_times(packed: list[object]) -> Times:
    """Restore a histogram; buckets that we do not have go into the last one."""
    times = Times()
    longest, filled = packed
    assert isinstance(longest, int)  # noqa: S101 - as it was packed
    assert isinstance(filled, dict)  # noqa: S101 - as it was packed
    times.longest = longest
    for bucket, number in filled.items():
        times.buckets[min(int(bucket), BUCKETS - 1)] += number
        times.count += number
    return times
