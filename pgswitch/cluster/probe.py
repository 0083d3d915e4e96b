"""The queries that probe a node, and the interface of the connections for them.

There are three queries, each shorter than the one before.  A node that refuses a query,
because it is old or denies access to a function, gets the next one; the shortest is
``pg_is_in_recovery()`` alone.  ``recovery_query`` replaces that function: the first
column of its first row says whether the node is a standby.  The other parts of the
queries still use the server's own functions.

``backend_probe.py`` and ``driver_probe.py`` implement :class:`Probe`;
``probe_choice.py`` chooses between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from twisted.python.failure import Failure as TwistedFailure

from pgswitch.cluster.nodes import NodeReport, ProbeFailure

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

QueryRows = tuple[tuple[str, ...], list[Sequence[object]]]
"""Names of columns, and the rows."""

IN_RECOVERY = "pg_is_in_recovery()"
SHORT = f"SELECT {IN_RECOVERY}"
"""For services that deny access to the other functions."""
LONG = f"""\
{SHORT},
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn,
       CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE pg_walfile_name(pg_current_wal_lsn()) END,
       CASE WHEN NOT pg_is_in_recovery() THEN NULL
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END"""
# Without pg_read_all_stats a row of pg_stat_wal_receiver has a pid and NULLs.
FULL = f"""\
{LONG},
       (SELECT system_identifier FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery() THEN
            (SELECT CASE WHEN receiver.pid IS NOT NULL THEN receiver.status
                         WHEN current_setting('restore_command', true) = '' THEN 'none'
                         WHEN current_setting('restore_command', true) <> ''
                         THEN 'archive' END
               FROM (SELECT 1) AS always
               LEFT JOIN pg_stat_wal_receiver AS receiver ON true) END,
       CASE WHEN pg_is_in_recovery() THEN
            (SELECT received_tli FROM pg_stat_wal_receiver) END"""  # noqa: S608 - ours
SHORTER = {FULL: LONG, LONG: SHORT}
"""The query that a node gets when it has refused one."""

SLEEP_S, OPERATOR_SLEEP_S = 0.001, 0.01
"""How long a node that waits for its promotion sleeps between two looks; longer with a
``recovery_query``, which may cost more."""
YES = ("t", "true", "on", "yes", "y", "1")
NO = ("f", "false", "off", "no", "n", "0")
"""The first column may have any type: its text in lower case."""
_TIMELINE_DIGITS = 8
"""The first part of a WAL file's name, in hexadecimal (manual, "WAL Internals")."""


class Probe(Protocol):
    """A connection of the monitor to one node."""

    @property
    def is_connected(self) -> bool:
        """Whether the next query needs no new connection."""

    @property
    def is_reached(self) -> bool:
        """Whether the host has accepted the connection, logged in or not yet."""

    @property
    def address(self) -> str:
        """The address that was reached last; empty: none yet, or a unix socket."""

    def ask(self, wait_s: float = 0.0) -> Deferred[NodeReport]:
        """Ask what the node is; fails with ProbeFailed.

        :param wait_s: a standby may answer this much later, or when it is promoted.
        """

    def read(self, query: str) -> Deferred[QueryRows]:
        """Run a query; fails with ProbeFailed."""

    def close(self) -> None:
        """Close the connection; a query under way fails."""


class ProbeFailed(Exception):
    """A probe failed; the text is the node's or the driver's."""

    def __init__(self, failure: ProbeFailure, text: str) -> None:
        """Take the kind of failure, and its text."""
        super().__init__(text)
        self.failure = failure


class QueryRefused(ProbeFailed):
    """The node is alive, but refuses the query."""

    def __init__(self, text: str, *, is_transient: bool = False) -> None:
        """Take the text of its error; ``is_transient``: it may accept it next time."""
        super().__init__(ProbeFailure.UNFIT, text)
        self.is_transient = is_transient


class BadAnswer(ValueError):
    """The first column of an answer is not a boolean; the text says what it is."""


class ProbeQuery:
    """Chooses the query for one connection to a node."""

    def __init__(
        self, read: Callable[[str], Deferred[QueryRows]], recovery_query: str = ""
    ) -> None:
        """Begin with the full query.

        :param read: runs a query on the connection.
        :param recovery_query: replaces pg_is_in_recovery().
        """
        self._read = read
        self._recovery_query = recovery_query
        self.reset()

    def reset(self) -> None:
        """Try the full query again: the connection is a new one."""
        self._query = FULL
        self._can_wait = True

    def ask(self, wait_s: float) -> Deferred[NodeReport]:
        """Ask what the node is; fails with ProbeFailed."""
        query = self._query
        # The shortest may be an operator's query as it stands: it does not wait.
        if not self._can_wait or query == SHORT:
            wait_s = 0.0
        text = with_recovery_query(query, self._recovery_query)
        if wait_s:
            text = waiting_query(text, wait_s, self._recovery_query)
        return self._read(text).addCallbacks(
            self._parse,
            self._refused,
            callbackArgs=(query,),
            errbackArgs=(query, wait_s),
        )

    def _parse(self, rows: QueryRows, query: str) -> NodeReport | TwistedFailure:
        if query == SHORT:
            rows = (rows[0][:1], [row[:1] for row in rows[1]])
        try:
            return parse_report(rows)
        except BadAnswer as error:
            # The full query is next: a recovery_query that is mended on the server
            # needs no new connection.
            self.reset()
            return TwistedFailure(QueryRefused(str(error)))

    def _refused(
        self, failure: TwistedFailure, query: str, wait_s: float
    ) -> Deferred[NodeReport] | TwistedFailure:
        """Send a shorter query if the node refuses this one."""
        # Nothing is raised: a traceback would keep the lost connection alive, and the
        # connection the traceback.
        refusal = failure.value
        if not isinstance(refusal, QueryRefused):
            return failure
        if wait_s:
            self._can_wait = False
            return self.ask(0.0)
        shorter = SHORTER.get(query)
        if shorter is None:
            self.reset()
        if shorter is None or refusal.is_transient:
            return failure
        self._query = str(shorter)
        return self.ask(0.0)


def waiting_query(query: str, seconds: float, recovery_query: str = "") -> str:
    """Return a query that is answered when the node is promoted, or after ``seconds``.

    The node itself looks again and again, which costs us nothing.  It keeps a snapshot
    meanwhile, so the time should be short.
    """
    sleep_s = OPERATOR_SLEEP_S if recovery_query else SLEEP_S
    return f"""\
WITH RECURSIVE polls(turn) AS (
    SELECT 1
    UNION ALL
    SELECT turn + 1 FROM polls
     WHERE clock_timestamp() < statement_timestamp() + interval '{seconds:.3f} s'
       AND {_is_standby_condition(recovery_query)}
       AND pg_sleep({sleep_s} + 0 * turn) IS NOT NULL)
{query}
  FROM (SELECT count(*) FROM polls) AS waited"""  # noqa: S608 - only our own numbers


def with_recovery_query(query: str, recovery_query: str) -> str:
    """Return one of the queries with ``recovery_query`` in it, if there is one."""
    if not recovery_query:
        return query
    rest = query.removeprefix(SHORT)
    if not rest:
        return _trimmed(recovery_query)
    return f"SELECT {_first_column(recovery_query)}{rest}"


def _is_standby_condition(recovery_query: str) -> str:
    """Return the condition on which a node goes on waiting.

    It refers to ``turn`` of the waiting query, so that it is evaluated each time.
    """
    if not recovery_query:
        return IN_RECOVERY
    words = ", ".join(f"'{word}'" for word in YES)
    return f"lower({_first_column(recovery_query, ' WHERE turn > 0')}) IN ({words})"


def _first_column(recovery_query: str, condition: str = "") -> str:
    """Return the first column of the first row, as text; NULL without a row."""
    return (
        f"(SELECT asked.standby::text FROM (\n{_trimmed(recovery_query)}\n)"  # noqa: S608 - the operator's
        f" AS asked(standby){condition} LIMIT 1)"
    )


def _trimmed(recovery_query: str) -> str:
    return recovery_query.strip().rstrip("; \t\r\n")


def parse_report(result: QueryRows) -> NodeReport:
    """Return what the answer to any of the queries says.

    :raises BadAnswer: it does not say whether the node is a standby.
    """
    row: Sequence[object] = result[1][0] if result[1] else (None,)
    in_recovery = is_standby(row[0] if row else None)
    if len(row) == 1:
        return NodeReport(in_recovery)
    name, lag = row[2], row[3]
    system, source, follows = (*row[4:], None, None, None)[:3]
    return NodeReport(
        in_recovery,
        timeline=None if name is None else int(str(name)[:_TIMELINE_DIGITS], 16),
        lsn=None if row[1] is None else int(str(row[1])),
        lag_s=None if lag is None else float(str(lag)),
        system=None if system is None else int(str(system)),
        source=None if source is None else str(source),
        follows=None if follows is None else int(str(follows)),
    )


def is_standby(value: object) -> bool:
    """Return what the first column says, as the driver or the server has it.

    :raises BadAnswer: it is not a boolean.
    """
    if value is None:
        raise BadAnswer("recovery_query returned no row, or NULL")
    text = str(value).lower()
    if text in YES:
        return True
    if text not in NO:
        raise BadAnswer(f"recovery_query returned {str(value)[:40]!r}, not a boolean")
    return False
