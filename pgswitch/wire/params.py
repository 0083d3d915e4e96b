"""Session parameters that follow a client from server to server.

A server reports some of its settings (manual, "Asynchronous Operations":
ParameterStatus).  Those that are *tracked* are kept for each client and for each
server; where the two differ when a client meets a server, the client's are set
there first, in one query that names only the differences.

Values are kept as tuples in the order of :attr:`Tracking.names`, and equal tuples
are one object, so that the hot path compares two identities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Values = tuple[str | None, ...]

ALWAYS_TRACKED = (
    "DateStyle",
    "client_encoding",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
)

LONGEST_QUOTED = 125
"""A value longer than this, quoted, is not replayed (as PgBouncer)."""

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

    def changed(self, values: Values, name: str, value: str) -> Values:
        """Return the values with one of them changed; untracked names change none."""
        at = self._index.get(name.lower())
        if at is None:
            return values
        return self._one((*values[:at], value, *values[at + 1 :]))

    def filled(self, values: Values, defaults: Values) -> Values:
        """Return the values, those not set taken from ``defaults``."""
        return self._one(
            tuple(
                default if value is None else value
                for value, default in zip(values, defaults, strict=True)
            )
        )

    def differences(self, client: Values, server: Values) -> list[tuple[str, str]]:
        """Return name and wanted value where both sides have one and they differ."""
        return [
            (name, wanted)
            for name, wanted, present in zip(self.names, client, server, strict=True)
            if wanted is not None
            and present is not None
            and wanted.lower() != present.lower()
            and len(quote_literal(wanted).encode("utf-8", "surrogateescape"))
            <= LONGEST_QUOTED
        ]

    def _one(self, values: Values) -> Values:
        """Return the one object that stands for these values."""
        if len(self._interned) > _INTERNED_MOST:
            self._interned.clear()
        return self._interned.setdefault(values, values)


def set_statement(differences: Iterable[tuple[str, str]]) -> str:
    """Return the query that makes a server's parameters those of the client.

    ``search_path`` is a list of names, quoted already by the server that reported
    it; quoting it again would make one name of it.
    """
    return "".join(
        f"SET {name}={_search_path(value)};"
        if name.lower() == "search_path"
        else f"SET {name}={quote_literal(value)};"
        for name, value in differences
    )


def _search_path(value: str) -> str:
    return value if value and value != '""' else "''"
