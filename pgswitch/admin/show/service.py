"""SHOW CONFIG, VERSION, STATE, LISTS, MEM, DNS_HOSTS and DNS_ZONES.

SHOW MEM counts how many objects of each kind are alive, under PgBouncer's names.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.incremental import POOLS_PER_STEP
from pgswitch.admin.result_set import END_OF_SLICE, INT4, INT8, TEXT, Column, Columns
from pgswitch.admin.show.databases import database_specs, user_names
from pgswitch.admin.show.pools import CONSOLE, peer_pools
from pgswitch.admin.view import ServiceView, Show
from pgswitch.config.report import config_rows
from pgswitch.types import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgswitch.net.backend import Backend

REFERENCE_VERSION: Final = "1.25.2"
"""The PgBouncer release whose console this one is like, as tools read it."""

CONFIG: Final = Show(
    meaning="The settings of `[pgbouncer]`.",
    find=lambda view: config_rows(view.context.configuration.settings),
    columns=(
        Column("key", TEXT, "Name of the setting.", lambda c: c.key),
        Column("value", TEXT, "Value in force, or NULL.", lambda c: c.value),
        Column("default", TEXT, "Value without a configuration.", lambda c: c.default),
        Column(
            *("changeable", TEXT, "`yes` if `RELOAD` or `SET` changes it, else `no`."),
            lambda c: c.changeable,
        ),
    ),
)
VERSION: Final = Show(
    meaning="The PgBouncer release whose console this one follows.",
    find=lambda _: [f"PgBouncer {REFERENCE_VERSION}"],
    columns=(Column("version", TEXT, "Name and number.", lambda name: name),),
)


def _state(view: ServiceView) -> list[tuple[str, bool]]:
    paused, suspended = view.context.paused, view.context.suspended
    return [
        ("active", not (paused or suspended)),
        ("paused", paused),
        ("suspended", suspended),
    ]


STATE: Final = Show(
    meaning="Whether the pooler serves, is paused or is suspended.",
    find=_state,
    columns=(
        Column("key", TEXT, "`active`, `paused` or `suspended`.", lambda s: s[0]),
        Column(
            *("value", TEXT, "`yes` or `no`."),
            lambda s: "yes" if s[1] else "no",
        ),
    ),
)


def _lists(view: ServiceView) -> Iterator[tuple[str, int] | None]:
    databases = len({*database_specs(view), CONSOLE})
    yield from END_OF_SLICE
    users = len(user_names(view))
    yield from END_OF_SLICE
    servers = 0
    for number, pool in enumerate(view.pools, 1):
        servers += sum(1 for _ in pool.connections())
        if number % POOLS_PER_STEP == 0:
            yield None
    arriving = len(view.login_service.arriving)
    names, zones, lookups = view.names.counts()
    yield "databases", databases
    yield "users", users
    yield "peers", len(view.context.configuration.peers)
    yield "pools", len(view.pools) + 1
    yield "peer_pools", len(peer_pools(view))
    yield "free_clients", 0
    yield "used_clients", len(view.login_service.clients) - arriving
    yield "login_clients", arriving
    yield "free_servers", 0
    yield "used_servers", servers
    yield "dns_names", names
    yield "dns_zones", zones
    yield "dns_queries", lookups
    yield "dns_pending", 0


LISTS: Final = Show(
    meaning="How many there are of each thing; `free_clients`, `free_servers` and"
    " `dns_pending` are always 0.",
    find=_lists,
    columns=(
        Column("list", TEXT, "What is counted.", lambda row: row[0]),
        Column("items", INT4, "How many there are.", lambda row: row[1]),
    ),
)
DNS_HOSTS: Final = Show(
    meaning="The host names that were looked up.",
    find=lambda view: list(view.names.hosts()),
    columns=(
        Column("hostname", TEXT, "The name.", lambda host: host.name),
        Column(
            *("ttl", INT8, "How long until it is looked up again."),
            lambda host: int(host.ttl),
            "s",
        ),
        Column(
            *(
                "addrs",
                TEXT,
                "Its addresses, separated by commas; empty after a failure.",
            ),
            lambda host: ",".join(str(Address(one, 0)) for one in host.addresses),
        ),
    ),
)
DNS_ZONES: Final = Show(
    meaning="The zones of those names.",
    find=lambda view: list(view.names.zones()),
    columns=(
        Column("zonename", TEXT, "The zone.", lambda zone: zone.zone),
        Column(
            "serial",
            INT8,
            "Its serial number; 0 until it is known (`dns_zone_check_period`).",
            lambda zone: zone.serial,
        ),
        Column("count", INT4, "Names in it.", lambda zone: zone.names),
    ),
)

SESSION_VALUES: Final = {
    "client_encoding": "UTF-8",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "datestyle": "ISO",
    "timezone": "GMT",
}
"""What drivers ask of every server: shown as fixed, and SET of them ignored."""


def _session_show(name: str, value: str) -> Show[str]:
    return Show(
        meaning="A value that never changes, for drivers that ask every server.",
        find=lambda _: [value],
        columns=(Column(name, TEXT, "The value.", lambda value: value),),
    )


SESSION_SHOWS: Final = {
    name: _session_show(name, value) for name, value in SESSION_VALUES.items()
}


class MemoryRow(NamedTuple):
    """The objects of one kind."""

    name: str
    size: int
    used: int


_MEMORY: Final[Columns[MemoryRow]] = (
    Column("name", TEXT, "Kind of the objects.", lambda m: m.name),
    Column(
        "size",
        INT4,
        "Size of one of them with its attributes, without what these refer to.",
        lambda m: m.size,
        "bytes",
    ),
    Column("used", INT4, "How many are alive.", lambda m: m.used),
    Column("free", INT4, "Always 0: no object is kept for reuse.", lambda _: 0),
    Column(
        *("memtotal", INT4, "Size of all of them."),
        lambda m: m.size * m.used,
        "bytes",
    ),
)


def _kinds(view: ServiceView) -> Iterator[MemoryRow | None]:
    """Yield the twelve kinds in PgBouncer's order."""
    configuration = view.context.configuration
    users = {*view.store.users(), *configuration.users}
    servers: list[Backend] = []
    for number, pool in enumerate(view.pools, 1):
        servers += (one for one in pool.backends() if hasattr(one, "stream"))
        if number % POOLS_PER_STEP == 0:
            yield None
    kinds: tuple[tuple[str, Callable[[], Sequence[object]]], ...] = (
        ("user_cache", lambda: list(users)),
        ("credentials_cache", lambda: list(map(view.store.secret, users))),
        ("db_cache", lambda: list(configuration.databases.values())),
        ("peer_cache", lambda: list(configuration.peers.values())),
        ("peer_pool_cache", tuple),
        ("pool_cache", lambda: list(view.pools)),
        ("outstanding_request_cache", lambda: _outstanding(view)),
        ("server_cache", lambda: servers),
        ("client_cache", lambda: list(view.login_service.clients.values())),
        ("iobuf_cache", lambda: _buffers(view)),
        ("var_list_cache", lambda: _parameters(view, servers)),
        ("server_prepared_statement_cache", lambda: _statements(servers)),
    )
    for name, collect in kinds:
        objects = collect()
        yield MemoryRow(name, _footprint(objects[0]) if objects else 0, len(objects))
        yield from END_OF_SLICE


def _outstanding(view: ServiceView) -> list[object]:
    """Return the requests of clients that are not answered yet."""
    return [
        entry
        for client in view.login_service.clients.values()
        for entry in client.stream.exchange.queue[client.stream.exchange.head :]
    ]


def _buffers(view: ServiceView) -> list[object]:
    """Return the chunks that wait to be sent or looked at."""
    return [
        chunk
        for client in view.login_service.clients.values()
        for chunk in (*client.stream.held, *client.stream.pending)
    ]


def _parameters(view: ServiceView, servers: Sequence[Backend]) -> list[object]:
    """Return the different sets of tracked parameters, which connections share."""
    return list(
        {
            *(
                client.stream.parameters
                for client in view.login_service.clients.values()
            ),
            *(backend.stream.parameters for backend in servers),
        }
    )


def _statements(servers: Sequence[Backend]) -> list[object]:
    return [
        statement
        for backend in servers
        for statement in backend.stream.statements.by_number.values()
    ]


def _footprint(one: object) -> int:
    """Return the bytes of an object and of its table of attributes."""
    return sys.getsizeof(one) + sys.getsizeof(getattr(one, "__dict__", ()))


MEM: Final = Show(
    meaning="The objects that are alive, by kind.",
    find=_kinds,
    columns=_MEMORY,
)
