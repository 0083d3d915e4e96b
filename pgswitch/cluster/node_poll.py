"""The probes of one node: how long they take, and whether they are overdue.

Two deadlines are kept apart.  A query on an open connection has
``switchover_silence`` plus one round trip.  A connect has ``server_connect_timeout``:
on a long route, TCP, TLS and SCRAM take many round trips.  A node that has answered
before is *reported* silent earlier, ``switchover_silence`` (and what its fastest login
took) after a connect began; the connect continues.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgswitch.cluster.nodes import Node
    from pgswitch.cluster.probe import Probe

LOG_AFTER_S = 2.0
"""A node that restarts or refuses us once is not worth a line in the log; one that
fails for longer is."""
LOG_EVERY_S = 60.0
_NEVER = float("-inf")
_ABOUT_LOGINS = re.compile(r"password|authenti|scram|\brole\b|pg_hba", re.IGNORECASE)
_HINT = (
    "; the monitor logs in with user and password of the entry,"
    " without a password with the user's secret in auth_file"
)


@dataclass(slots=True)
class PollIntervals:
    """The settings that say how often nodes are probed, in seconds."""

    polling_frequency: float = 0.1
    server_failed_delay: float = 30.0
    recreate: bool = True
    silence: float = 1.0
    """A node that does not answer for this long counts as dead."""
    connect_timeout: float = 15.0
    """How long a connect may take, login included; 0: for ever."""
    refresh: float = 30.0
    """How often the list of nodes is read."""


@dataclass(slots=True)
class NodeFailureLog:
    """Decides which failed probes of one node to log; in monotonic seconds."""

    since: float | None = None
    """When the first failed probe began; None: the last one succeeded."""
    logged_at: float = _NEVER
    logged: str = ""
    """The text that was logged last."""

    def reset(self) -> None:
        """Note that the node has answered."""
        self.since = None
        self.logged_at = _NEVER
        self.logged = ""

    def line(self, text: str, began: float, now: float, *, at_once: bool) -> str:
        """Return what to log of a failed probe; empty: nothing.

        :param text: why it failed.
        :param began: when it began.
        :param at_once: the node is alive and has said why, which only a change there or
            here will mend: a new text is logged without delay.
        """
        if self.since is None:
            self.since = began
        is_new = at_once and text != self.logged
        is_due = now - self.since >= LOG_AFTER_S and now - self.logged_at >= LOG_EVERY_S
        if not is_new and not is_due:
            return ""
        self.logged_at, self.logged = now, text
        lasting = "" if is_new else f" for {now - self.since:.0f} s"
        hint = _HINT if _ABOUT_LOGINS.search(text) else ""
        return f"health check failed{lasting}: {text}{hint}"


@dataclass(slots=True)
class NodePoll:
    """The probe of one node, and the times of its queries; monotonic seconds."""

    node: Node
    probe: Probe
    busy: bool = False
    """A query is under way."""
    ask_again: bool = False
    """The node is to be asked once more when that query is over."""
    asked_at: float = _NEVER
    answered_at: float = _NEVER
    answer_time: float = 0.0
    """How long the last answer took."""
    is_rejected: bool = False
    """The node is alive, but rejected the last query: no need to hurry."""
    is_connecting: bool = False
    """A connection is being made for the query."""
    began_at: float = _NEVER
    """When the connect began, or the query once there was a connection."""
    min_login_time: float = float("inf")
    """How long the fastest connect took, login included."""
    min_round_trip: float = float("inf")
    """How long the fastest answer on this connection took."""
    accept_timeouts: int = 0
    """How many times in a row the host has not accepted a connection in time."""
    is_reported_silent: bool = False
    """The node was reported as silent, while the connect continues."""
    close_cause: str = ""
    """Why the monitor has closed the connection; empty: it has not."""
    address: str = ""
    """Where the node answered last, if its host is a name."""
    failure_log: NodeFailureLog = field(default_factory=NodeFailureLog)

    def begin(self, now: float) -> None:
        """Note that a query begins."""
        self.busy, self.close_cause = True, ""
        self.asked_at = self.began_at = now

    def logged_in(self, now: float) -> None:
        """Begin to wait for the answer, now that there is a connection."""
        self.is_connecting = False
        self.min_login_time = min(self.min_login_time, now - self.began_at)
        self.min_round_trip = float("inf")
        self.began_at = now
        self.accept_timeouts = 0

    def answered(self, now: float, *, has_waited: bool) -> None:
        """Note an answer; ``has_waited``: the node may have delayed it on purpose."""
        self.answered_at = now
        if not has_waited:
            self.answer_time = now - self.asked_at
            if not self.is_connecting:
                self.min_round_trip = min(self.min_round_trip, now - self.began_at)
        if self.is_connecting:
            self.logged_in(now)
        self.is_rejected = self.is_reported_silent = False
        self.failure_log.reset()

    def is_connect_overdue(self, now: float, silence: float) -> bool:
        """Tell whether to report a node that has answered before as silent."""
        if self.is_reported_silent or self.answered_at == _NEVER:
            return False
        return now - self.began_at >= silence + self.min_login_time

    def is_answer_overdue(self, now: float, silence: float) -> bool:
        """Tell whether a node has not answered on an open connection for too long."""
        round_trip = min(self.min_round_trip, self.min_login_time, silence)
        # It may have fallen silent right after its last answer.
        return (
            now - self.answered_at >= silence + round_trip
            and now - self.began_at >= silence / 2 + round_trip
        )
