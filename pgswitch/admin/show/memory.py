"""SHOW MEM: how many objects of each kind are alive, under PgBouncer's names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.incremental import POOLS_PER_STEP
from pgswitch.admin.result_set import END_OF_SLICE, INT4, TEXT, Column, Columns
from pgswitch.admin.view import ServiceView, Show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgswitch.net.backend import Backend


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
