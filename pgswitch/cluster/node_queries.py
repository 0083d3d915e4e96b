"""What nodes are asked, in SQL, and what their answers say."""

from __future__ import annotations

from collections.abc import Sequence

from pgswitch.cluster import recovery_check
from pgswitch.cluster.nodes import NodeReport

QueryRows = tuple[tuple[str, ...], list[Sequence[object]]]
"""Names of columns, and the rows."""

SHORT = "SELECT pg_is_in_recovery()"
"""For services that keep the other functions to themselves."""
LONG = f"""\
{SHORT},
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn,
       CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE pg_walfile_name(pg_current_wal_lsn()) END,
       CASE WHEN NOT pg_is_in_recovery() THEN NULL
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END"""
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
"""Who may not read statistics sees that there is a receiver, but nothing of it."""
LESS = {FULL: LONG, LONG: SHORT}
"""What a node is asked that refuses to answer a question."""

NAP_S, OPERATORS_NAP_S = 0.001, 0.01
"""How often a node that waits looks whether it has been promoted; by an operator's
query, which may cost more, not as often."""
_TIMELINE_DIGITS = 8
"""Of the name of a WAL file, in hexadecimal (manual, "WAL Internals")."""


def worded(question: str, recovery_query: str) -> str:
    """Return one of these questions with an operator's ``recovery_query`` in it."""
    return recovery_check.in_place_of(question, recovery_query)


def waiting_query(question: str, seconds: float, recovery_query: str = "") -> str:
    """Return a question that is answered when the node is promoted, or in ``seconds``.

    The node itself looks all the time and costs us nothing meanwhile.  It keeps a
    snapshot for so long, so that it should be short.
    """
    nap_s = OPERATORS_NAP_S if recovery_query else NAP_S
    return f"""\
WITH RECURSIVE patience(turn) AS (
    SELECT 1
    UNION ALL
    SELECT turn + 1 FROM patience
     WHERE clock_timestamp() < statement_timestamp() + interval '{seconds:.3f} s'
       AND {recovery_check.waits_while(recovery_query)}
       AND pg_sleep({nap_s} + 0 * turn) IS NOT NULL)
{question}
  FROM (SELECT count(*) FROM patience) AS waited"""  # noqa: S608 - numbers of ours


def report_of(result: QueryRows) -> NodeReport:
    """Return what the answer to any of the questions says.

    Raises BadAnswer if it says neither that the node is a standby nor that it is none.
    """
    row: Sequence[object] = result[1][0] if result[1] else (None,)
    in_recovery = recovery_check.is_standby(row[0] if row else None)
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
