"""Session parameters that follow a client from server to server.

A server reports some of its settings (manual, "Asynchronous Operations":
ParameterStatus).  Those that are *tracked* are kept for each client and for each
server; where the two differ when a client meets a server, the client's are set
there first, in one query that names only the differences.

A parameter may be tracked that a server does not report (search_path before
PostgreSQL 18).  What we have set there is then taken for its value, None for what the
server had at its login.

Values are kept as tuples in the order of :attr:`Tracking.names`, and equal tuples
are one object, so that the hot path compares two identities.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pgswitch.wire.spelling import preload_codecs, recoded

Values = tuple[str | None, ...]

Differences = list[tuple[str, str | None]]
"""Names and wanted values; None stands for what the server had at its login."""

ALWAYS_TRACKED = (
    "DateStyle",
    "client_encoding",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
)

UNKNOWN: Final = "\0"
"""The value of a parameter that is not reported, when somebody may have changed it.

No parameter can have it, so that it differs from whatever is wanted.
"""

_CASELESS: Final = frozenset(
    (
        *("datestyle", "client_encoding", "timezone", "standard_conforming_strings"),
        "intervalstyle",
    )
)
"""Parameters whose values a server reads in any case, and reports in its own."""

_ASCII: Final = _CASELESS | {"application_name"}
"""Parameters that have no values but of ASCII."""

_LISTS: Final = frozenset(
    (
        *("search_path", "temp_tablespaces"),
        *("local_preload_libraries", "session_preload_libraries"),
    )
)
"""Parameters that are lists of names, quoted each.

SET would make one name of a whole list in quotes; a function of the server takes it as
a start-up packet does.
"""

_INTERNED_MOST = 10_000


def quote_literal(value: str) -> str:
    """Return an SQL string constant (manual, "String Constants")."""
    quoted = value.replace("'", "''")
    if "\\" in quoted:
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"


class Tracking:
    """Which parameters are tracked, and what can be done with their values."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        """``extra`` is track_extra_parameters; repeated names count once."""
        names: dict[str, str] = {}
        for name in (*ALWAYS_TRACKED, *extra):
            names.setdefault(name.lower(), name)
        self.names = tuple(names.values())
        self._index = {name: at for at, name in enumerate(names)}
        self._interned: dict[Values, Values] = {}
        if not set(names) <= _ASCII:
            preload_codecs()
        self.unset = self._one((None,) * len(self.names))

    def __contains__(self, name: str) -> bool:
        """Tell whether a parameter is tracked, whatever its case."""
        return name.lower() in self._index

    def value(self, values: Values, name: str) -> str | None:
        """Return one value out of a tuple, None where it is not set or tracked."""
        at = self._index.get(name.lower())
        return None if at is None else values[at]

    def collect(self, given: Mapping[str, str]) -> Values:
        """Return the tracked ones of some parameters."""
        values: list[str | None] = [None] * len(self.names)
        for name, value in given.items():
            at = self._index.get(name.lower())
            if at is not None:
                values[at] = value
        return self._one(tuple(values))

    def changed(self, values: Values, name: str, value: str | None) -> Values:
        """Return the values with one of them changed; untracked names change none."""
        at = self._index.get(name.lower())
        if at is None:
            return values
        return self._one((*values[:at], value, *values[at + 1 :]))

    def in_encoding(self, values: Values, encoding: str) -> Values:
        """Return the same values in another client_encoding, where they have a form."""
        present = self.value(values, "client_encoding")
        if present is None or present == encoding:
            return values
        there: list[str | None] = []
        for value in self.changed(values, "client_encoding", encoding):
            if value is not None and not value.isascii():
                there.append(recoded(value, present, encoding))
            else:
                there.append(value)
        return self._one(tuple(there))

    def forgotten(
        self, values: Values, reported: Collection[str], *, at_default: bool
    ) -> Values:
        """Return a server's values after a reset of parameters that it does not report.

        ``reported`` are the names in small letters of those that it does.  The others
        are as at its login if ``at_default``, else those that were set are unknown.
        """
        forgotten = None if at_default else UNKNOWN
        return self._one(
            tuple(
                value if value is None or name in reported else forgotten
                for name, value in zip(self._index, values, strict=True)
            )
        )

    def filled(self, values: Values, defaults: Values) -> Values:
        """Return the values, those not set taken from ``defaults``."""
        return self._one(
            tuple(
                default if value is None else value
                for value, default in zip(values, defaults, strict=True)
            )
        )

    def respelled(self, asked: Values, given: Values) -> list[tuple[str, str, str]]:
        """Return the names of values that are given in other words than asked for.

        With each, what was asked for and what is given.
        """
        return [
            (name, before, now)
            for name, before, now in zip(self.names, asked, given, strict=True)
            if before is not None and now is not None and before != now
        ]

    def differences(self, client: Values, server: Values) -> Differences:
        """Return what is to be set at a server, in the order of the names.

        A value that the client does not have is that of the server's login, whatever
        another has set there.  The same bytes in two encodings are two values.
        """
        is_recoded = _differ(
            "client_encoding",
            self.value(client, "client_encoding"),
            self.value(server, "client_encoding"),
        )
        found: Differences = []
        for name, wanted, present in zip(self.names, client, server, strict=True):
            is_same_bytes = not _differ(name.lower(), wanted, present)
            if is_same_bytes and (not is_recoded or wanted is None or wanted.isascii()):
                continue
            found.append((name, wanted))
        return found

    def set_queries(self, client: Values, server: Values) -> list[str]:
        """Return the queries that make a server's parameters those of a client.

        None if they are so already.  Two if a value is not ASCII: a server reads a
        query in the encoding that it has then, so that one is set before.  A byte of
        such a value may look like a backslash and be half a character, so nothing in it
        is escaped; string constants must be plain ones then.
        """
        differences = self.differences(client, server)
        if not differences:
            return []
        if all(value is None or value.isascii() for _, value in differences):
            return [set_statement(differences)]
        first: Differences = []
        rest: Differences = []
        for name, wanted in differences:
            (first if name.lower() == "client_encoding" else rest).append(
                (name, wanted)
            )
        strings = "standard_conforming_strings"
        present = self.value(server, strings)
        if present != "on":
            wanted = self.value(client, strings)
            rest = [one for one in rest if one[0].lower() != strings]
            rest.append((strings, wanted if wanted is not None else present))
            first.append((strings, "on"))
        queries = [set_statement(first)] if first else []
        if rest:
            queries.append(set_statement(rest, is_plain=True))
        return queries

    def _one(self, values: Values) -> Values:
        """Return the one object that stands for these values."""
        if len(self._interned) > _INTERNED_MOST:
            self._interned.clear()
        return self._interned.setdefault(values, values)


def set_statement(
    differences: Iterable[tuple[str, str | None]], *, is_plain: bool = False
) -> str:
    """Return the query that sets parameters of a server.

    ``is_plain``: the server has standard_conforming_strings on.
    """
    return "".join(
        _set_one(name, value, is_plain=is_plain) for name, value in differences
    )


def _set_one(name: str, value: str | None, *, is_plain: bool) -> str:
    if value is None:
        return f"RESET {name};"
    doubled = value.replace("'", "''")
    quoted = f"'{doubled}'" if is_plain else quote_literal(value)
    if name.lower() in _LISTS:
        return f"SELECT pg_catalog.set_config('{name}', {quoted}, false);"
    return f"SET {name}={quoted};"


def _differ(name: str, wanted: str | None, present: str | None) -> bool:
    """Tell whether two values of a parameter, named in small letters, differ."""
    if wanted == present:
        return False
    if wanted is None or present is None or name not in _CASELESS:
        return True
    return wanted.lower() != present.lower()
