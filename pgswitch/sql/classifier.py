"""Classifies a statement by its text, in a few microseconds.

Theory of operation.  Most statements are known by their first word, but a statement is
a read only if nothing in it writes, so all words of a possible read count.  They are
first collected as if there were no strings and comments: words in those can only make
a read look like a write, never the reverse.  If none is suspicious the text is a read;
otherwise it is tokenized exactly (words_in), which takes some ten times as long.

Only the text counts.  A view or an operator may call a function that writes; name such
functions in ``volatile``, and use a read-only server as the last safeguard.  Anything
uncertain is Kind.UNKNOWN, to be treated as a write.

The words that identify a kind are from the PostgreSQL 18 manual: "SQL Commands", and
"Functions and Operators" for the functions that change something.  The rules of the
tokenizer are those of the manual's chapter "Lexical Structure", with
standard_conforming_strings on; a text that means something else with it off is
rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import pairwise
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


END: Final = ";"
QUOTED: Final = '"'
"""Prefix of a quoted name, which is never a keyword."""

# At each position the server takes the first alternative that matches. All repeats are
# possessive: a client chooses the text, and rejecting it must not take long.
_TOKEN: Final = re.compile(
    r"""
      \s++ | --[^\n\r]*+
    | (?P<comment> /\* )
    | e'(?: [^'\\] | '' | \\. )*+'
    | '(?: [^'\\] | '' | \\(?!') )*+'
    | \$(?P<tag> (?: [^\W\d]\w*+ )? )\$ .*? \$(?P=tag)\$
    | "(?P<quoted> (?: [^"] | "" )++ )"
    | (?<=\d)e\d++
    | (?P<word> [^\W\d][\w$]*+ )
    | (?P<end> ; )
    | [^'"$;] | \$(?! [^\W\d]\w*+\$ | \$ )
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_ENDS: Final = re.compile(r"/\*|\*/")


class Undecided(Exception):
    """A text that cannot be tokenized with certainty."""


def words_in(text: str) -> Iterator[str]:
    """Yield the words and quoted names of a text, and ``;`` between statements.

    ``text`` is in lower case.  Raises Undecided for an unterminated token, and for
    text whose meaning depends on a setting.
    """
    position = 0
    size = len(text)
    while position < size:
        token = _TOKEN.match(text, position)
        if token is None:
            raise Undecided
        position = token.end()
        kind = token.lastgroup
        if kind == "word":
            yield token["word"]
        elif kind == "quoted":
            yield QUOTED + token["quoted"]
        elif kind == "end":
            yield END
        elif kind == "comment":
            position = _comment_end(text, position)


def _comment_end(text: str, position: int) -> int:
    """Return the end of a comment whose start has been read; comments nest."""
    depth = 1
    for found in _COMMENT_ENDS.finditer(text, position):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    raise Undecided


MAX_LENGTH: Final = 65536
"""Maximum characters of a possible read; longer ones are Kind.UNKNOWN."""

_FIRST: Final = re.compile(r"[\s(]*+([^\W\d][\w$]*+)")
_WORDS: Final = re.compile(r"(?!e\d)[a-z_]\w++")
"""Words of two or more letters; one may directly follow a number: ``1e5into``."""
_LOCKING: Final = frozenset((("for", "share"), ("key", "share")))
_ANALYZE: Final = frozenset(("analyze", "analyse"))


class Classifier:
    """Returns the kind of a text; ``volatile`` names functions that may write.

    Names are compared without schema and in lower case.
    """

    def __init__(self, volatile: Iterable[str] = ()) -> None:
        """Take the user's functions; PostgreSQL's own are known."""
        own = {name.rpartition(".")[2].strip('"').lower() for name in volatile}
        changing = CHANGING | own
        self._writing = WRITING | changing | {QUOTED + name for name in changing}
        self._suspicious = self._writing | RUNNING | _ANALYZE | {"share"}
        self._is_quick = all(_WORDS.findall(name) == [name] for name in own)

    def __call__(self, query: str) -> Kind:
        """Return the kind of the first statement that is not a read, else READ."""
        is_long = len(query) > MAX_LENGTH
        text = query[:MAX_LENGTH].lower() if is_long else query.lower()
        first = _FIRST.match(text)
        if first is not None:
            kind = BY_FIRST_WORD.get(first[1], Kind.UNKNOWN)
            if kind is Kind.READ:
                if self._is_quick and not is_long and self._is_plain_read(text):
                    return Kind.READ
            elif kind is not Kind.SET and kind is not Kind.UNKNOWN:
                return kind
        if is_long:
            return Kind.UNKNOWN
        try:
            return self._exact(text)
        except Undecided:
            return Kind.UNKNOWN

    def _is_plain_read(self, text: str) -> bool:
        """Return whether a text that begins like a read has no suspicious word."""
        end = text.find(END)
        if end >= 0 and not text[end + 1 :].isspace() and end + 1 != len(text):
            return False
        return self._suspicious.isdisjoint(_WORDS.findall(text)) and 'u&"' not in text

    def _exact(self, text: str) -> Kind:
        """Tokenize a text; return the first kind that is not READ, else READ."""
        if 'u&"' in text:
            return Kind.UNKNOWN
        statement: list[str] = []
        for word in words_in(text):
            if word is not END:
                statement.append(word)
                continue
            kind = self._kind(statement)
            if kind is not Kind.READ:
                return kind
            statement.clear()
        return self._kind(statement)

    def _kind(self, words: list[str]) -> Kind:
        """Return the kind of one statement; an empty one is a read."""
        if not words:
            return Kind.READ
        if tuple(words[:2]) in TRANSACTION_BY_TWO:
            return Kind.TRANSACTION
        kind = BY_FIRST_WORD.get(words[0], Kind.UNKNOWN)
        if kind is Kind.READ and self._writes(words):
            return Kind.WRITE
        return kind

    def _writes(self, words: list[str]) -> bool:
        """Return whether a statement that begins like a read may write."""
        found = set(words)
        if words[0] == "explain":
            if found.isdisjoint(_ANALYZE):
                return False
            if not found.isdisjoint(RUNNING):
                return True
        if not found.isdisjoint(self._writing):
            return True
        return "share" in found and not _LOCKING.isdisjoint(pairwise(words))
