"""What a pool of a cluster asks about the node that its servers are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgswitch.cluster.node_checks import CheckCallback, CheckResult
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.net.connection_states import CloseReason
    from pgswitch.pool.loss import LossCause, LossOutcome


class Route(Protocol):
    """Where a pool's servers are: at the writer, or at one node for readers."""

    @property
    def target(self) -> DatabaseSpec:
        """The database's entry, with the node's host and port in it."""

    @property
    def is_standby(self) -> bool:
        """Whether servers here cannot write."""

    @property
    def searching(self) -> bool:
        """Whether no node can serve now, and clients wait."""

    @property
    def starting(self) -> bool:
        """Whether that is because no node has answered yet: servers stay."""

    @property
    def no_writer_reason(self) -> str:
        """Why no node can serve now, for clients that time out; empty if one can."""

    @property
    def is_welcome_stale(self) -> bool:
        """Whether the pool's welcome is, or may be, from another node."""

    def is_at_wrong_address(self, backend: Backend) -> bool:
        """Tell whether a server is at another address than the monitor's probe."""

    def suspect(self) -> None:
        """Have the monitor look: a server was lost, or takes no writes."""

    def correct_parameters(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return parameters that a server has reported with their present values."""

    def standby_servers(self) -> Iterator[Backend]:
        """Iterate over the connections kept open to standbys."""

    def welcome_learned(self) -> None:
        """Note that a server has reported what clients get at login."""

    def server_ready(self) -> None:
        """Note that a server has logged in and is ready for clients."""

    def login_refused(self, sqlstate: str) -> bool:
        """Deal with a node that refuses a login; True: clients go on waiting.

        ``sqlstate`` is empty if the node gave none.
        """

    def cause_of(self, reason: CloseReason) -> LossCause | None:
        """Return what explains the loss of a server; None: not known yet.

        ``reason`` is why the server was closed.
        """

    def cause_found(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return what a check of the node explains; None: nothing certain.

        ``undone``: the lost server had sent a shutdown notice.
        """

    def check(self, callback: CheckCallback) -> None:
        """Check the node over a new connection."""

    def count_outcome(self, outcome: LossOutcome | None) -> None:
        """Count what became of a client whose server was lost; None: disconnected."""

    def count_error(self, sqlstate: str) -> None:
        """Count an error with this SQLSTATE that reports a loss to a client."""

    def refresh(self) -> None:
        """Do what is due; called by each maintenance run.

        Sends clients that wait to another pool, if they are served there.
        """

    def close(self) -> None:
        """Release everything: the pool is dropped."""
