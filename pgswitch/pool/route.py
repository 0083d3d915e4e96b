"""What a pool of a cluster asks about the node that its servers are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgswitch.cluster.node_checks import CheckCallback, CheckResult
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.net.close_reason import CloseReason
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
    def why_searching(self) -> str:
        """Why no node can serve now, for clients that time out; empty if one can."""

    @property
    def welcome_is_outdated(self) -> bool:
        """Whether the node is yet to say what clients are told at login."""

    def is_elsewhere(self, backend: Backend) -> bool:
        """Tell whether a server is at another address than the monitor's probe."""

    def suspect(self) -> None:
        """Have the monitor look: a server was lost, or takes no writes."""

    def corrected(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return parameters that a server has reported with their present values."""

    def standby_servers(self) -> Iterator[Backend]:
        """Iterate over the connections kept for later."""

    def welcome_learned(self) -> None:
        """Note that a server has said what clients are told at login."""

    def served(self) -> None:
        """Note that a server has logged in and is there for clients."""

    def login_refused(self, sqlstate: str) -> bool:
        """Deal with a node that refuses a login; True: clients go on waiting.

        ``sqlstate`` is empty if the node gave none.
        """

    def cause_of(self, reason: CloseReason) -> LossCause | None:
        """Return what explains the loss of a server, None if that is to be found out.

        ``reason`` is why the server was closed.
        """

    def cause_found(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return what a check of the node says about a loss; None: nothing certain.

        ``undone``: the server had said that it ends.
        """

    def check(self, heard: CheckCallback) -> None:
        """Check the node over a new connection."""

    def count_outcome(self, outcome: LossOutcome | None) -> None:
        """Note what became of a client whose server was lost; None: disconnected."""

    def count_error(self, sqlstate: str) -> None:
        """Note that a client was told of its loss with this SQLSTATE."""

    def refresh(self) -> None:
        """Do what is due; called by each maintenance run.

        Sends clients that wait to another pool, if they are served there.
        """

    def close(self) -> None:
        """Release everything: the pool is dropped."""
