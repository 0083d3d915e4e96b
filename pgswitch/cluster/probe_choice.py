"""Chooses between the two kinds of probe, at each connect.

:class:`DriverProbe` leaves the login to libpq, which derives the keys of SCRAM in the
calling thread, the reactor's, with as many iterations as the server demands: 10,000,000
would block the process for seconds.  So libpq gets no password, and is used only
without a secret (trust, peer, certificates).  With a secret, :class:`BackendProbe` logs
in as the pools do: in a thread, bounded by ``scram_iterations_max``.  A secret may
appear in ``auth_file`` and vanish from it at any time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pgswitch.cluster.backend_probe import BackendProbe
from pgswitch.cluster.driver_probe import DriverProbe, MonitorLogin
from pgswitch.tls.contexts import for_servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from pgswitch.cluster.driver_probe import ResolveHost
    from pgswitch.cluster.nodes import Node, NodeReport
    from pgswitch.cluster.probe import Probe, QueryRows
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.context import ServiceContext


class SelectingProbe:
    """A probe of one of two kinds, chosen for each new connection."""

    def __init__(
        self, ours: Probe, drivers: Probe, has_secret: Callable[[], bool]
    ) -> None:
        """``ours`` is for logins with a secret, ``drivers`` for logins without one."""
        self._ours = ours
        self._drivers = drivers
        self._has_secret = has_secret
        self._chosen = drivers

    @property
    def is_connected(self) -> bool:
        """Whether the next query needs no new connection."""
        return self._chosen.is_connected

    @property
    def is_reached(self) -> bool:
        """Whether the host has accepted the connection, logged in or not yet."""
        return self._chosen.is_reached

    @property
    def address(self) -> str:
        """The address that was reached last; empty: none yet, or a unix socket."""
        return self._chosen.address

    def ask(self, wait_s: float = 0.0) -> Deferred[NodeReport]:
        """Ask what the node is; fails with ProbeFailed."""
        return self._choose().ask(wait_s)

    def read(self, query: str) -> Deferred[QueryRows]:
        """Run a query; fails with ProbeFailed."""
        return self._choose().read(query)

    def close(self) -> None:
        """Close the connection; a query under way fails."""
        self._chosen.close()

    def _choose(self) -> Probe:
        if not self._chosen.is_connected:
            self._chosen = self._ours if self._has_secret() else self._drivers
        return self._chosen


def probe_maker(
    context: ServiceContext,
    spec: DatabaseSpec,
    reactor: Any,  # noqa: ANN401 - one object with many interfaces
    addresses: ResolveHost,
) -> Callable[[Node, Callable[[], None]], Probe]:
    """Return a function that makes probes of a cluster's nodes.

    :param spec: the cluster's entry.
    :param addresses: looks up host names.
    """
    auth_user = context.configuration.settings.auth_user
    user = spec.user or spec.auth_user or auth_user or ""

    def credentials() -> MonitorLogin:
        settings = context.configuration.settings
        return MonitorLogin(
            spec.dbname or spec.name,
            user,
            for_servers(settings, spec),
            settings.unix_socket_dir or "/tmp",  # noqa: S108 - as PostgreSQL
        )

    def has_secret() -> bool:
        return bool(context.credentials(spec, user)[0])

    def make(node: Node, lost: Callable[[], None]) -> Probe:
        at = replace(spec, host=node.host, port=node.port)
        return SelectingProbe(
            BackendProbe(context, at, user, lost),
            DriverProbe(
                reactor,
                node,
                credentials,
                lost,
                addresses,
                recovery_query=spec.recovery_query or "",
            ),
            has_secret,
        )

    return make
