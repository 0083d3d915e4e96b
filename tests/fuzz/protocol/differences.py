"""Where a pooler may answer otherwise than PostgreSQL, and why: nothing else may.

``python -m tests.fuzz.protocol --differences`` prints the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Segment(NamedTuple):
    """The answers up to a ReadyForQuery, as lines, of both; and what is in force."""

    direct: list[str]
    pooled: list[str]
    shares_servers: bool
    """Transaction or statement pooling."""
    most_prepared: int
    """max_prepared_statements."""
    is_last: bool = False
    """Behind a Terminate of the client."""
    parses_unnamed: bool = False
    """Its unnamed statement is one that the client parses in it."""
    may_change_mode: bool = False
    """Of session pooling, and trouble makes that another."""

    @property
    def common(self) -> int:
        """How many lines are the same at the beginning."""
        for number, (one, other) in enumerate(
            zip(self.direct, self.pooled, strict=False)
        ):
            if one != other:
                return number
        return min(len(self.direct), len(self.pooled))


class Difference(NamedTuple):
    """One rule: its name, its reason, what it accepts (None: left out beforehand)."""

    name: str
    reason: str
    accepts: Callable[[Segment], bool] | None = None
    parts: bool = False
    """What was done to one and not to the other makes later answers incomparable."""


OUR_NAME = re.compile(r'"PGBOUNCER_\d+"')
NO_UNNAMED = "E ERROR 26000 unnamed prepared statement does not exist"
NO_NAMED = re.compile(r'E ERROR 26000 prepared statement "[^"]*" does not exist')
FAILED = (
    "E ERROR 25P02 current transaction is aborted, "
    "commands ignored until end of transaction block"
)
WRONG_COUNT = "E ERROR 08P01 bind message supplies"
DUPLICATE = re.compile(r'E ERROR 42P05 prepared statement "[^"]*" already exists')


def _same_end(segment: Segment) -> bool:
    """Tell whether the transaction took the same turn in spite of the error."""
    return segment.direct[-1:] == segment.pooled[-1:] == ["Z I"]


def _unnamed_gone(segment: Segment) -> bool:
    at = segment.common
    return (
        segment.shares_servers
        and segment.pooled[at:] == [NO_UNNAMED, "Z I"]
        and segment.direct[at : at + 1] != []
        and not (segment.parses_unnamed and "1" in segment.direct[:at])
        and _same_end(segment)
    )


def _named_gone(segment: Segment) -> bool:
    at = segment.common
    return (
        segment.shares_servers
        and segment.most_prepared == 0
        and len(segment.pooled) == at + 2
        and NO_NAMED.fullmatch(segment.pooled[at]) is not None
        and _same_end(segment)
    )


def _session_gone(segment: Segment) -> bool:
    at = segment.common
    return (
        segment.may_change_mode
        and len(segment.pooled) == at + 2
        and (
            NO_NAMED.fullmatch(segment.pooled[at]) is not None
            or segment.pooled[at] == NO_UNNAMED
        )
        and _same_end(segment)
    )


def _name_free(segment: Segment) -> bool:
    at = segment.common
    return (
        segment.shares_servers
        and segment.most_prepared == 0
        and segment.pooled[at : at + 1] == ["1"]
        and len(segment.direct) == at + 2
        and DUPLICATE.fullmatch(segment.direct[at]) is not None
        and _same_end(segment)
    )


def _lacking(segment: Segment) -> bool:
    at = segment.common
    return (
        segment.shares_servers
        and segment.pooled[at:] == [FAILED, "Z E"]
        and segment.direct[at:][:1] != []
        and (
            segment.direct[at].startswith(("t ", WRONG_COUNT))
            or DUPLICATE.fullmatch(segment.direct[at]) is not None
        )
        and segment.direct[-1] == "Z E"
    )


def _our_names(segment: Segment) -> bool:
    if len(segment.direct) != len(segment.pooled):
        return False
    for one, other in zip(segment.direct, segment.pooled, strict=True):
        if one == other:
            continue
        written = "".join(
            part if number % 2 == 0 else '"[^"]*"'
            for number, part in enumerate(
                re.split(r"(\0)", re.escape(OUR_NAME.sub("\0", other)))
            )
        )
        if OUR_NAME.search(other) is None or not re.fullmatch(written, one):
            return False
    return True


def _cut_off(segment: Segment) -> bool:
    return segment.is_last and segment.common == len(segment.pooled)


DIFFERENCES = (
    Difference(
        "positions",
        "an error's position, file, line and routine, DETAIL, HINT and CONTEXT may "
        "tell of what pgswitch has put before the text",
    ),
    Difference(
        "keys and greetings",
        "cancel keys, and what a login says, are pgswitch's own",
    ),
    Difference(
        "parameters",
        "ParameterStatus may come at other times and more than once: the last values "
        "count, of those that pgswitch has follow the client",
    ),
    Difference("notices", "come at other places among the answers"),
    Difference(
        "table numbers", "two databases number their tables each in its own way"
    ),
    Difference(
        "unnamed statements",
        "a Bind or Describe of the unnamed statement in a later transaction than its "
        "Parse is answered 26000: servers are shared",
        _unnamed_gone,
        parts=True,
    ),
    Difference(
        "sessions that end",
        "when pool_mode changes from session to another, what a client has prepared is "
        "gone with the server that it had for itself",
        _session_gone,
        parts=True,
    ),
    Difference(
        "max_prepared_statements = 0: gone",
        "named statements live no longer than their transaction, so using one later is "
        "answered 26000",
        _named_gone,
        parts=True,
    ),
    Difference(
        "max_prepared_statements = 0: free",
        "for the same reason the name of an earlier transaction is no duplicate",
        _name_free,
        parts=True,
    ),
    Difference(
        "failed transactions",
        "a Describe of a statement without rows, a Bind with too many values, or a "
        "Parse of nothing under its name, is answered there too, but not by a server "
        "that lacks the statement, for there it cannot be parsed any more",
        _lacking,
    ),
    Difference(
        "names of ours",
        "a server's error may call a prepared statement by the name it has there",
        _our_names,
    ),
    Difference(
        "cut off by Terminate",
        "a client that sends Terminate before the answers may not get them all",
        _cut_off,
    ),
)


def accepting(segment: Segment) -> Difference | None:
    """Return the rule by which two answers may differ, None if they may not."""
    for one in DIFFERENCES:
        if one.accepts is not None and one.accepts(segment):
            return one
    return None


def described() -> list[str]:
    """Return the list for people."""
    return [f"{one.name}: {one.reason}" for one in DIFFERENCES]
