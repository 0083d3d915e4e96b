"""What one pool remembers of its attempts to log in to its servers.

The reason of the last failure is kept: clients that ask for a server hear it at once
("cached error"), and the next attempt comes only after ``server_login_retry``.  The
first success clears it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.errors import Fault, ServerLoginRefused
from pgswitch.net.close_reason import CloseReason
from pgswitch.wire.server_auth import Failed, ServerRefused

if TYPE_CHECKING:
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.server_connector import ServerConnector

STARTING_UP = "57P03"
FEATURE_NOT_SUPPORTED = "0A000"
NO_RESOURCES, INTERVENTION, NO_ENTRY = "53", "57", "28"
"""Classes of SQLSTATEs: a server that is full, one that starts, stops or is told to end
what it does, and one that does not let us in."""
CACHED_REASON_LIMIT = 99
MIN_RETRY_S = 1.0
"""For how long a node that refuses is avoided at least."""


class LoginAttempts:
    """The last attempt of a pool to log in, and how it ended."""

    def __init__(self, context: ServiceContext, connector: ServerConnector) -> None:
        """Begin without any."""
        self.failing = ""
        """Why the last one failed; empty if it did not."""
        self.last = float("-inf")
        """When it began, in monotonic seconds."""
        self.refusal = ""
        """What the server said or did to refuse it; empty if it did not."""
        self.sqlstate = ""
        """The code that it gave for that."""
        self._refused_at = float("-inf")
        """When it did."""
        self._puzzled = False
        """The last one was refused for what newer servers know."""
        self._context = context
        self._connector = connector

    def begin(self) -> None:
        """Note that an attempt begins."""
        self.last = self._context.clock()

    def succeeded(self) -> None:
        """Note that a server took us in."""
        self.failing = self.refusal = self.sqlstate = ""

    @property
    def is_refused(self) -> bool:
        """Whether a server has refused us, and not so long ago."""
        if not self.refusal:
            return False
        retry = self._context.configuration.settings.server_login_retry
        # Since then: the login itself may have taken longer.
        return self._context.clock() - self._refused_at < max(retry, MIN_RETRY_S)

    def refused(
        self, backend: Backend, refusal: ServerRefused | Failed
    ) -> Fault | None:
        """Note a login that failed for a reason that was said.

        Returns what clients that wait for the pool are to be told; None if they
        should go on waiting.
        """
        log = self._context.log
        self._refused_at = self._context.clock()
        if isinstance(refusal, ServerRefused):
            if (
                refusal.sqlstate == FEATURE_NOT_SUPPORTED
                and self._connector.may_fall_back
            ):
                self._puzzled = True
                return None  # `lost` has it tried again.
            self.refusal, self.sqlstate = refusal.message, refusal.sqlstate
            log.warning(f"server login failed: {refusal.severity} {refusal.message}")
            if refusal.sqlstate == STARTING_UP:
                self._failed(refusal.message)
                return None
            fault: Fault = ServerLoginRefused(
                message=refusal.message, sqlstate=refusal.sqlstate
            )
        else:
            self.refusal, self.sqlstate = refusal.reason, ""
            log.error(f"{backend.prefix} {refusal.reason}")
            if refusal.client_fault is None:
                self._failed(refusal.reason)
                return None
            fault = refusal.client_fault
        self._failed(fault.text)
        return fault

    def lost(self, backend: Backend, reason: CloseReason, detail: str = "") -> None:
        """Note why a login ended, unless that says nothing about the server."""
        if self.failing or not reason.is_failure:
            return
        was_connected = backend.local_address.port or backend.address.host == "unix"
        is_puzzled, self._puzzled = (
            self._puzzled or reason is CloseReason.CRASHED,
            False,
        )
        if is_puzzled and was_connected and self._connector.may_fall_back:
            # Perhaps it knows protocol 3.0 only; if not, the next attempt fails too.
            self._connector.fall_back()
        else:
            self._failed(detail or reason.text)

    def _failed(self, reason: str) -> None:
        self.failing = reason[:CACHED_REASON_LIMIT]
