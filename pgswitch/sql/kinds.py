"""The kinds of statements, and the words that identify them.

The words are from the PostgreSQL 18 manual: "SQL Commands", and "Functions and
Operators" for the functions that change something.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a statement does, as far as its text tells."""

    READ = "read"
    """Does nothing that a standby would refuse."""
    WRITE = "write"
    """Changes data, locks rows, or calls a function that may."""
    TRANSACTION = "transaction"
    """BEGIN, COMMIT, SAVEPOINT and similar commands."""
    SET = "set"
    """Changes the session: SET, RESET, LISTEN, DISCARD."""
    COPY = "copy"
    DDL = "ddl"
    """Changes the schema, privileges or storage."""
    UNKNOWN = "unknown"
    """Not recognized: treat it as a write."""


BY_FIRST_WORD: Final = {
    **dict.fromkeys(("select", "values", "table", "with", "show"), Kind.READ),
    "explain": Kind.READ,
    **dict.fromkeys(
        ("insert", "update", "delete", "merge", "truncate", "lock", "call", "do"),
        Kind.WRITE,
    ),
    **dict.fromkeys(("notify", "refresh"), Kind.WRITE),
    **dict.fromkeys(
        (
            "begin",
            "start",
            "commit",
            "end",
            "rollback",
            "abort",
            "savepoint",
            "release",
        ),
        Kind.TRANSACTION,
    ),
    **dict.fromkeys(("set", "reset", "discard", "listen", "unlisten"), Kind.SET),
    "copy": Kind.COPY,
    **dict.fromkeys(
        ("create", "alter", "drop", "grant", "revoke", "comment", "security", "import"),
        Kind.DDL,
    ),
    **dict.fromkeys(("reassign", "vacuum", "analyze", "analyse"), Kind.DDL),
    **dict.fromkeys(("reindex", "cluster", "checkpoint", "load"), Kind.DDL),
}
"""READ means a possible read: the rest of the statement decides. Others are unknown."""

TRANSACTION_BY_TWO: Final = {("set", "transaction"), ("prepare", "transaction")}
"""Statements of kind TRANSACTION that are identified by two words."""

WRITING: Final = frozenset(("insert", "update", "delete", "merge", "into"))
"""Words that make a possible read a write: writing CTEs, FOR UPDATE, SELECT INTO."""

RUNNING: Final = frozenset(("execute", "create", "declare", "refresh"))
"""Other commands that EXPLAIN ANALYZE may run."""

CHANGING: Final = frozenset(
    (
        *("nextval", "setval", "currval", "lastval", "set_config"),
        *("txid_current", "pg_current_xact_id", "pg_notify", "pg_export_snapshot"),
        *(
            f"pg_{kind}_{what}{how}"
            for kind in (
                "advisory",
                "advisory_xact",
                "try_advisory",
                "try_advisory_xact",
            )
            for what in ("lock", "unlock")
            for how in ("", "_shared", "_all")
        ),
        *("lo_creat", "lo_create", "lo_from_bytea", "lo_import", "lo_export"),
        *("lo_open", "lo_close", "lo_put", "lo_truncate", "lo_truncate64", "lo_unlink"),
        *("lowrite", "dblink", "dblink_exec", "dblink_connect", "dblink_send_query"),
        *("pg_cancel_backend", "pg_terminate_backend", "pg_reload_conf", "pg_promote"),
        *("pg_rotate_logfile", "pg_switch_wal", "pg_create_restore_point"),
        *("pg_backup_start", "pg_backup_stop", "pg_start_backup", "pg_stop_backup"),
        *("pg_stat_reset", "pg_stat_reset_shared", "pg_stat_statements_reset"),
        *("pg_create_physical_replication_slot", "pg_create_logical_replication_slot"),
        *("pg_drop_replication_slot", "pg_replication_slot_advance"),
        *("pg_logical_emit_message", "pg_logical_slot_get_changes"),
        *("query_to_xml", "cursor_to_xml"),
    )
)
"""PostgreSQL's functions that change something or depend on the session.

Those in the last line run SQL that we cannot see.
"""
