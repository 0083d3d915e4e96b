"""What SHOW reads: the parts of the service, and how a table turns them into rows."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pgswitch.admin.result_set import NO_ROW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pgswitch.admin.descriptors import Descriptor
    from pgswitch.admin.result_set import Columns, ResultRows
    from pgswitch.admin.statistics import Statistics
    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.login_service import LoginService
    from pgswitch.cluster.clusters import Clusters
    from pgswitch.dns.resolver import Resolver
    from pgswitch.pool.cancel_keys import CancelKeys
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.rules.engine import RulesEngine

T = TypeVar("T")


class HandoverSource(Protocol):
    """Lists the sockets that another process can take over (takeover/exporter.py)."""

    def rows(self) -> Sequence[Descriptor]:
        """Return the sockets with their state, for SHOW HANDOVER."""

    def each_descriptor(self) -> Iterator[Descriptor | None]:
        """Yield the sockets for SHOW FDS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """The parts of the service that SHOW reads; it changes none of them."""

    context: ServiceContext
    pools: Pools
    login_service: LoginService
    store: AuthFile
    keys: CancelKeys
    rules: RulesEngine
    names: Resolver
    clusters: Clusters
    statistics: Statistics
    handover: HandoverSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Show(Generic[T]):
    """One result of SHOW.

    ``find`` returns what the rows show.  Where that may be thousands of objects it
    yields them one by one, each to be read before the next is asked for, and yields
    None for a step that adds no row: time may pass after each ((see ``incremental``)).
    """

    meaning: str
    """What a row is, for the reference page."""
    find: Callable[[ServiceView], Iterable[T | None]]
    columns: Columns[T]
    needs_admin: bool = False
    needs_owner: bool = False
    """Shown only to the process's own user, on the unix socket: it holds secrets."""
    attaches: bool = False
    """Each row begins with a descriptor, sent along to a client that may have it."""

    def rows(self, view: ServiceView) -> ResultRows:
        """Yield the values of each row, in the order of the columns."""
        values = [column.value for column in self.columns]
        for one in self.find(view):
            yield NO_ROW if one is None else [value(one) for value in values]

    def named_rows(self, view: ServiceView) -> list[Any]:
        """Return all rows at once, as tuples with the columns as attributes."""
        names = [column.name for column in self.columns]
        row_type = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024 - names are data
        return [row_type(*row) for row in self.rows(view) if row]
