"""What happens to a server of a pool between two clients: reset, check, or the end.

A released server is closed if its time is over, else reset or set aside for a check
as the settings say, and only then given to the next client (manual of PgBouncer,
"server_reset_query", "server_check_query").
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.net.backend import Phase
from pgswitch.pool.opening import PAUSED
from pgswitch.pool.totals import EVICTED
from pgswitch.types import PoolMode
from pgswitch.wire import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.config.settings import Settings
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.errands import Errands
    from pgswitch.pool.totals import Totals
    from pgswitch.relay.client import ClientLink
    from pgswitch.relay.rack import Rack
    from pgswitch.relay.server import ServerLink
    from pgswitch.types import PoolKey
    from pgswitch.wire.statements import ServerStatements

EMPTY_QUERY = "<empty>"
"""The value of server_check_query that stands for a query of no statement."""
CHECK_FAILED = "test query failed"
CLEANING_FAILED = "dropping of prepared statements failed"


class Home(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    key: PoolKey
    spec: DatabaseSpec
    context: PoolContext
    totals: Totals
    rack: Rack
    errands: Errands

    def is_held(self) -> bool:
        """Tell whether no client may get a server now."""

    def closes_free(self) -> bool:
        """Tell whether servers that are free are closed."""

    def backends(self) -> Iterator[Backend]:
        """Return the servers."""

    def serve_waiters(self) -> None:
        """See to it that those who wait get a server."""

    def launch(self) -> None:
        """Open what is wanted and allowed."""

    def set_open(self) -> None:
        """Take notice of what is asked of released servers."""

    def waiting_since(self) -> float:
        """Return when the client came that has waited longest; infinite if none."""

    def is_opening(self) -> bool:
        """Tell whether a server is logging in."""


class Cleaning:
    """Has a server drop what its client has prepared under names of its own."""

    unfit = ""

    def __init__(self, statements: ServerStatements) -> None:
        """Take what is to be dropped."""
        self.request = statements.cleaning() + encode.sync()

    def message(self, kind: int, body: bytes) -> None:
        """Take a part of the answer: nothing is to be learnt of it."""


def unfit(link: ClientLink, server: ServerLink) -> str:
    """Return why a server cannot be used after its client left; empty if it can."""
    if link.exchange.outstanding():
        return "client disconnected with query in progress"
    if not link.exchange.clean or link.skip or not server.at_boundary():
        return "client disconnect while server was not ready"
    if server.backlogged:
        return "client disconnect before everything was sent to the server"
    return ""


def check_query(settings: Settings) -> str:
    """Return the query that a server must answer to be used again."""
    query = settings.server_check_query
    return "" if query == EMPTY_QUERY else query


class Aftercare:
    """Looks after the released servers of one pool."""

    def __init__(self, pool: Home) -> None:
        """Take the settings with :meth:`configure` before use."""
        self._pool = pool
        self._resets = False
        self._checks_always = False

    def configure(self) -> None:
        """Take the settings in force."""
        settings = self._pool.context.configuration.settings
        self._resets = bool(settings.server_reset_query) and (
            self._pool.rack.mode == PoolMode.SESSION
            or bool(settings.server_reset_query_always)
        )
        self._checks_always = (
            settings.server_check_delay == 0 and settings.server_check_query != ""
        )

    def is_needed(self) -> bool:
        """Tell whether every released server is to be looked at."""
        pool = self._pool
        return (
            pool.is_held()
            or self._resets
            or self._checks_always
            or self._lifetime() == 0
            or bool(pool.errands)
            or pool.totals.is_sought(pool.key)
        )

    def released(self, backend: Backend) -> None:
        """Look after a server that came back unlinked and clean."""
        settings = self._pool.context.configuration.settings
        if backend.phase is Phase.CLOSED:
            return
        for cancel in [*backend.cancels]:
            cancel.unneeded()
        if self._pool.context.clock() - backend.connected_at >= self._lifetime():
            backend.close("server lifetime over")
        elif backend.link.stale:
            backend.close("close_needed")
        elif backend.cancels:
            backend.is_parked = True
        elif self._pool.closes_free():
            backend.close(PAUSED)
        elif backend.link.statements.needs_cleaning():
            backend.ask(
                Cleaning(backend.link.statements), partial(self._cleaned, backend)
            )
        elif self._resets:
            backend.run(
                settings.server_reset_query,
                partial(self._free_unless_failed, backend, "reset query failed"),
            )
        elif self._checks_always:
            backend.phase = Phase.USED
            self._pool.serve_waiters()
        else:
            self.free(backend)

    def _cleaned(self, backend: Backend, error: dict[str, str] | None) -> None:
        """Look after a server that has dropped what was its client's own."""
        backend.link.unwatch()
        if error is not None:
            backend.close(CLEANING_FAILED)
        else:
            self.released(backend)

    def free(self, backend: Backend) -> None:
        """Take a server that is fit for the next client."""
        pool, rack = self._pool, self._pool.rack
        if pool.closes_free():
            backend.close(PAUSED)
        elif backend.link.stale:
            backend.close("close_needed")
        elif rack.open and pool.errands.take(backend):
            pass  # It comes back when the question has its answer.
        elif pool.totals.is_due(pool):
            backend.close(EVICTED)
        elif rack.hand_on(backend.link):
            pool.totals.offer(pool.key)

    def check_used(self, wanted: int) -> None:
        """Start the check of as many used servers as clients wait for."""
        query = check_query(self._pool.context.configuration.settings)
        for backend in self._pool.backends():
            if wanted <= 0:
                return
            if backend.phase is Phase.USED:
                wanted -= 1
                if backend.link.stale:
                    backend.close("obsolete connection")
                    continue
                backend.run(
                    query, partial(self._free_unless_failed, backend, CHECK_FAILED)
                )

    def _free_unless_failed(
        self, backend: Backend, reason: str, error: dict[str, str] | None
    ) -> None:
        """Take a server back after a reset or a check; close it if that failed."""
        if error is not None:
            backend.close(reason)
        else:
            self.free(backend)

    def _lifetime(self) -> float:
        pool = self._pool
        return pool.context.effective.server_lifetime(pool.spec, pool.key.user)
