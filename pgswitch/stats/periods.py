"""Averages over the last one to two periods, for SHOW STATS and the log.

An average over a few seconds would be noise, one since the start would be history, so
the present counts are compared with those at the end of the period before last.
Counts and bytes become "per second"; times become "per query", "per transaction" and
"per assignment".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pgswitch.stats.counters import NAMES

Totals = tuple[int, ...]
Noted = tuple[float, Mapping[str, Totals]]
"""A monotonic time in seconds, and the counts of each database at that time."""

NOTHING: Totals = (0,) * len(NAMES)
TIMES_PER = {
    "xact_time": "xact_count",
    "query_time": "query_count",
    "wait_time": "server_assignment_count",
}
"""The count by which each time is divided."""


def plus(one: Totals, other: Totals) -> Totals:
    """Return the sum of two sets of counts."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def sum_of(many: Iterable[Totals]) -> Totals:
    """Return the sum of any number of sets of counts."""
    return tuple(map(sum, zip(NOTHING, *many, strict=True)))


def average(before: Totals, now: Totals, seconds: float) -> Totals:
    """Return the averages between two points in time, rounded down."""
    passed = dict(
        zip(NAMES, (b - a for a, b in zip(before, now, strict=True)), strict=True)
    )
    length = max(seconds, 1.0)

    def one(name: str) -> int:
        if name in TIMES_PER:
            count = passed[TIMES_PER[name]]
            return passed[name] // count if count > 0 else 0
        return max(int(passed[name] / length), 0)

    return tuple(one(name) for name in NAMES)


class Periods:
    """The counts at the ends of the last two periods."""

    def __init__(self, now: float) -> None:
        """Start at a monotonic time in seconds, with all counts zero."""
        self._older: Noted = (now, {})
        self._newer: Noted = (now, {})

    def end_of_period(self, now: float, totals: Mapping[str, Totals]) -> None:
        """Store the counts of each database at the end of a period."""
        self._older = self._newer
        self._newer = (now, dict(totals))

    def averages(self, now: float, totals: Mapping[str, Totals]) -> dict[str, Totals]:
        """Return the averages of each database until now."""
        return dict(self.each_average(now, totals))

    def each_average(
        self, now: float, totals: Mapping[str, Totals]
    ) -> Iterator[tuple[str, Totals]]:
        """Yield them one by one; the end of a period in between changes nothing."""
        then, before = self._older
        for name, present in totals.items():
            yield name, average(before.get(name, NOTHING), present, now - then)

    def last(self, now: float, totals: Mapping[str, Totals]) -> Totals:
        """Return the averages of all databases since the end of the last period."""
        return _of_all(self._newer, now, totals)

    def of_all(self, now: float, totals: Mapping[str, Totals]) -> Totals:
        """Return the averages of all databases together, until now."""
        return _of_all(self._older, now, totals)


def _of_all(noted: Noted, now: float, totals: Mapping[str, Totals]) -> Totals:
    """Return the averages of all databases together, since ``noted``."""
    then, before = noted
    past = sum_of(before.get(name, NOTHING) for name in totals)
    return average(past, sum_of(totals.values()), now - then)


def stats_line(averages: Totals) -> str:
    """Return the log line for the averages of a period."""
    by_name = dict(zip(NAMES, averages, strict=True))
    return (
        "stats: {xact_count} xacts/s, {query_count} queries/s,"
        " {client_parse_count} client parses/s, {server_parse_count} server parses/s,"
        " {bind_count} binds/s, {client_login_count} client logins/s,"
        " in {client_bytes} B/s, out {server_bytes} B/s, xact {xact_time} us,"
        " query {query_time} us, wait {wait_time} us"
    ).format_map(by_name)
