"""Session parameters that follow a client from server to server.

A server reports some of its settings (manual, "Asynchronous Operations":
ParameterStatus).  The *tracked* ones are stored for each client and each server; if
they differ when a client gets a server, one query first sets the different ones on
the server to the client's values.

A tracked parameter may be one that a server does not report (search_path before
PostgreSQL 18).  Its value is then the one that we set last; None is the server's value
at its login.

Values are tuples in the order of :attr:`Tracking.names`, and equal tuples are the same
object, so the hot path compares identities.

:class:`Welcome` reports the parameters to a client at the end of its login.  The
clients of a pool mostly ask for the same, so what is made for one is cached for the
next.  Making it (fifteen messages, as many look-ups of names) is a third of the cost of
a connection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pgswitch.wire import encode
from pgswitch.wire.spelling import (
    application_name,
    client_encoding,
    date_style,
    preload_codecs,
    recoded,
)

Values = tuple[str | None, ...]

Differences = list[tuple[str, str | None]]
"""Names and values to set; None is the server's value at its login."""

ALWAYS_TRACKED = (
    "DateStyle",
    "client_encoding",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
)

UNKNOWN: Final = "\0"
"""The value of an unreported parameter that may have changed.

No parameter can have this value, so it differs from every other.
"""

_CASELESS: Final = frozenset(
    (
        *("datestyle", "client_encoding", "timezone", "standard_conforming_strings"),
        "intervalstyle",
    )
)
"""Parameters whose values a server accepts in any case, and reports in its own."""

_ASCII: Final = _CASELESS | {"application_name"}
"""Parameters whose values are always ASCII."""

_LISTS: Final = frozenset(
    (
        *("search_path", "temp_tablespaces"),
        *("local_preload_libraries", "session_preload_libraries"),
    )
)
"""Parameters that are lists of names, each of which may be quoted.

SET would read a whole quoted list as one name; the server's function set_config() reads
it as a startup packet does.
"""

_MAX_INTERNED = 10_000


def quote_literal(value: str) -> str:
    """Return an SQL string constant (manual, "String Constants")."""
    quoted = value.replace("'", "''")
    if "\\" in quoted:
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"


class Tracking:
    """The tracked parameters, and operations on their values."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        """``extra`` is track_extra_parameters; duplicates are ignored."""
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
        """Return whether a parameter is tracked; case does not matter."""
        return name.lower() in self._index

    def value(self, values: Values, name: str) -> str | None:
        """Return one value of a tuple, None if it is not set or not tracked."""
        at = self._index.get(name.lower())
        return None if at is None else values[at]

    def collect(self, given: Mapping[str, str]) -> Values:
        """Return the values of those parameters that are tracked."""
        values: list[str | None] = [None] * len(self.names)
        for name, value in given.items():
            at = self._index.get(name.lower())
            if at is not None:
                values[at] = value
        return self._one(tuple(values))

    def changed(self, values: Values, name: str, value: str | None) -> Values:
        """Return the values with one of them changed; ignores untracked names."""
        at = self._index.get(name.lower())
        if at is None:
            return values
        return self._one((*values[:at], value, *values[at + 1 :]))

    def in_encoding(self, values: Values, encoding: str) -> Values:
        """Return the values in another client_encoding, where they can be encoded."""
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
        """Return a server's values after a reset of its unreported parameters.

        ``reported`` has the names, in lower case, of reported parameters.  The others
        have their values at the login if ``at_default``; otherwise those that were set
        become unknown.
        """
        forgotten = None if at_default else UNKNOWN
        return self._one(
            tuple(
                value if value is None or name in reported else forgotten
                for name, value in zip(self._index, values, strict=True)
            )
        )

    def filled(self, values: Values, defaults: Values) -> Values:
        """Return the values, with unset ones from ``defaults``."""
        return self._one(
            tuple(
                default if value is None else value
                for value, default in zip(values, defaults, strict=True)
            )
        )

    def respelled(self, asked: Values, given: Values) -> list[tuple[str, str, str]]:
        """Return name, requested and actual value where the two values differ."""
        return [
            (name, before, now)
            for name, before, now in zip(self.names, asked, given, strict=True)
            if before is not None and now is not None and before != now
        ]

    def differences(self, client: Values, server: Values) -> Differences:
        """Return the parameters to set on a server, in the order of the names.

        A value that the client does not have means the server's value at its login.
        The same bytes in two encodings are two values.
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
        """Return the queries that give a server a client's parameters.

        The list is empty if nothing differs.  It has two queries if a value is not
        ASCII: a server reads a query in its current encoding, so client_encoding is
        set first.  In such a value, a byte that looks like a backslash may be part of
        a character, so nothing is escaped, which needs standard_conforming_strings.
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
        """Return the one shared object with these values."""
        if len(self._interned) > _MAX_INTERNED:
            self._interned.clear()
        return self._interned.setdefault(values, values)


def set_statement(
    differences: Iterable[tuple[str, str | None]], *, is_plain: bool = False
) -> str:
    """Return the query that sets parameters on a server.

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
    """Return whether two values of a parameter (name in lower case) differ."""
    if wanted == present:
        return False
    if wanted is None or present is None or name not in _CASELESS:
        return True
    return wanted.lower() != present.lower()


_MAX_CACHED = 1000
"""Cached combinations of startup parameters (application names, say) of a pool."""
_MAX_CACHED_BYTES = 4_194_304
"""Bytes of cached messages of a pool: some servers report much."""


class Welcome:
    """The parameters that the servers of one pool report at login."""

    def __init__(
        self, parameters: Mapping[str, str], tracking: Tracking, since: float = 0.0
    ) -> None:
        """Take the reported parameters, in the server's order.

        ``since`` is when we connected to the server, in monotonic seconds.
        """
        self.parameters = dict(parameters)
        self.since = since
        self._tracking = tracking
        self._defaults = tracking.collect(parameters)
        self._cache: dict[Values, tuple[Values, bytes]] = {}
        self._cached_bytes = 0

    def to(self, requested: Values) -> tuple[Values, bytes]:
        """Return a client's parameters, and the messages that report them.

        The values are those that the client requested, as a server spells them, and the
        servers' own for the rest.  The messages are AuthenticationOk and one
        ParameterStatus for each parameter.
        """
        made = self._cache.get(requested)
        if made is None:
            made = self._make(requested)
            self._cached_bytes += len(made[1])
            if (
                len(self._cache) >= _MAX_CACHED
                or self._cached_bytes > _MAX_CACHED_BYTES
            ):
                self._cache.clear()
                self._cached_bytes = len(made[1])
            self._cache[requested] = made
        return made

    def changed(self, name: str, value: str) -> Welcome:
        """Return the welcome with one parameter reported differently."""
        parameters = {**self.parameters, name: value}
        return Welcome(parameters, self._tracking, self.since)

    def _make(self, requested: Values) -> tuple[Values, bytes]:
        tracking = self._tracking
        requested, defaults = self._spelled(requested), self._defaults
        encoding = tracking.value(requested, "client_encoding")
        if encoding is not None:
            defaults = tracking.in_encoding(defaults, encoding)
        values = tracking.filled(requested, defaults)
        reported = {}
        for name, default in self.parameters.items():
            value = tracking.value(values, name)
            reported[name] = default if value is None else value
        return values, reports(reported)

    def _spelled(self, requested: Values) -> Values:
        """Return the requested parameters as a server spells them."""
        tracking = self._tracking
        name = tracking.value(requested, "application_name")
        if name is not None:
            version = self.parameters.get("server_version", "")
            name = application_name(name, version)
            requested = tracking.changed(requested, "application_name", name)
        style = tracking.value(requested, "DateStyle")
        default = tracking.value(self._defaults, "DateStyle")
        if style is not None and default is not None:
            requested = tracking.changed(
                requested, "DateStyle", date_style(style, default)
            )
        encoding = tracking.value(requested, "client_encoding")
        if encoding is not None:
            encoding = client_encoding(encoding)
            requested = tracking.changed(requested, "client_encoding", encoding)
        return requested


def reports(parameters: Mapping[str, str]) -> bytes:
    """Return AuthenticationOk and one ParameterStatus for each parameter."""
    return encode.auth_ok() + b"".join(
        encode.parameter_status(*item) for item in parameters.items()
    )
