"""What a pool does at the ends of a server's life: its login, and its loss.

In between the rack passes it from client to client.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.net.backend import CRASHED, Backend, Phase
from pgswitch.pool.opening import NO_FAILURES, NODE_LOST, WRITER_LOST, WRITER_MOVED
from pgswitch.relay.client import ClientLink
from pgswitch.wire.welcome import Welcome

if TYPE_CHECKING:
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.aftercare import Aftercare
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.errands import Errands
    from pgswitch.pool.fleet import Fleet
    from pgswitch.pool.settling import Settling
    from pgswitch.pool.site import Place
    from pgswitch.pool.verdicts import Verdicts
    from pgswitch.relay.rack import Rack
    from pgswitch.wire.login_server import Failed, ServerRefused

SWITCHOVER_REASONS = (CRASHED, NODE_LOST, WRITER_LOST, WRITER_MOVED)
"""Reasons for which a cluster's server is lost through no fault of its client."""


class Home(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: PoolContext
    spec: DatabaseSpec
    rack: Rack
    fleet: Fleet
    errands: Errands
    settling: Settling
    aftercare: Aftercare
    site: Place | None
    verdicts: Verdicts
    welcome: Welcome | None
    welcome_waiters: list[Frontend]

    def welcome_waiting(self) -> None:
        """Go on with the logins that wait, if what clients are told is known."""

    def launch(self) -> None:
        """Open servers for those who wait."""

    def serve_waiters(self) -> None:
        """Give servers to those who wait; open more."""


def logged_in(pool: Home, backend: Backend) -> None:
    """Take in a server that has logged in: connect_query, then the clients."""
    if pool.site is not None and pool.site.is_elsewhere(backend):
        backend.close(WRITER_MOVED)
        return
    pool.fleet.attempts.succeeded()
    link = backend.link
    link.keeper = pool.rack
    link.counters = pool.rack.counters
    link.wary = pool.site is not None
    link.stale = backend.generation != pool.fleet.generation
    link.unwatch()
    if pool.spec.connect_query:
        backend.run(pool.spec.connect_query, partial(_prepared_for_use, pool, backend))
    else:
        _prepared_for_use(pool, backend, None)


def _prepared_for_use(
    pool: Home, backend: Backend, error: dict[str, str] | None
) -> None:
    if error is not None:
        pool.context.log.error(
            f"{backend.prefix} error while executing exec_on_query:"
            f" {error.get('S', 'ERROR')}: {error.get('M', '')}"
        )
    backend.is_fresh = False
    learn_welcome(pool, backend)
    pool.welcome_waiting()
    if backend.phase is not Phase.CLOSED:
        pool.aftercare.free(backend)
        if pool.site is not None:
            pool.site.served()


def learn_welcome(pool: Home, backend: Backend) -> None:
    """Have clients told from now on what this server has reported."""
    present, reported = pool.welcome, backend.parameters
    if backend.link.stale:
        return
    if pool.site is not None:
        pool.site.heard()
        reported = {**pool.site.corrected(reported)}
    if present is None or present.parameters != reported:
        tracking = pool.context.tracking
        pool.welcome = Welcome(reported, tracking, backend.connected_at)


def inherit_welcome(pool: Home, backend: Backend) -> None:
    """Do so if no other that another process had was connected to later."""
    present = pool.welcome
    is_later = present is None or backend.connected_at >= present.since
    if backend.parameters and is_later:
        learn_welcome(pool, backend)


def reported(pool: Home, name: str, value: str, backend: Backend) -> None:
    """Have clients told of a parameter that is so for all of them from now on."""
    welcome = pool.welcome
    if welcome is None or backend.is_fresh or backend.link.stale:
        return
    if pool.site is not None:
        value = pool.site.corrected({name: value})[name]
    for other in pool.fleet:
        # They say so with their next answers, which may be long after a takeover.
        if other.host == backend.host and other.phase is not Phase.LOGIN:
            other.parameters[name] = value
    if welcome.parameters.get(name) != value:
        pool.welcome = welcome.changed(name, value)


def login_refused(
    pool: Home, backend: Backend, refusal: ServerRefused | Failed
) -> None:
    """Note why a login failed; tell those who wait unless others still serve.

    Those of a cluster may be served by another node, or by this one later.
    """
    attempts, site = pool.fleet.attempts, pool.site
    fault = attempts.refused(backend, refusal)
    if site is not None and attempts.refusal and site.refused(attempts.sqlstate):
        return
    if fault is None or (pool.welcome is not None and pool.fleet.has_login()):
        return
    for client in [*pool.welcome_waiters]:
        client.disconnect(fault)
    for link in [*pool.rack.waiters]:
        link.frontend.disconnect(fault)
    pool.errands.fail(fault)


def lost(pool: Home, backend: Backend, reason: str) -> None:
    """Let go of a server, and of the client that was using it."""
    pool.fleet.strike_off(backend, reason)
    site = pool.site
    if site is not None and reason not in NO_FAILURES:
        site.suspect()
    if backend.phase_at_close is Phase.LOGIN:
        pool.fleet.attempts.lost(backend, reason)
        pool.launch()
        return
    is_move = site is not None and reason in SWITCHOVER_REASONS
    pool.errands.lost(backend, may_ask_again=is_move)
    link = backend.link
    # Whoever brings it back after this has it looked at.
    link.watched = True
    settling = pool.settling.lost(backend)
    client = link.peer or settling
    if link in pool.rack.idle:
        pool.rack.idle.remove(link)
    half_sent = link.skip != 0
    if isinstance(client, ClientLink):
        pool.rack.unlink(client, link)
        if site is not None and reason in SWITCHOVER_REASONS:
            if client is settling:
                # Its parameters were being set: it had asked nothing yet.
                pool.verdicts.requeue(client)
            else:
                pool.verdicts.lost(client, backend, reason)
        else:
            client.frontend.disconnect(backend.loss(), quietly=half_sent)
    link.statements.clear()
    pool.launch()
