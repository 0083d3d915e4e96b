"""The parameters that are reported to a client at the end of its login.

The clients of a pool mostly ask for the same, so what is made for one is cached for the
next.  Making it (fifteen messages, as many look-ups of names) is a third of the cost of
a connection.
"""

from __future__ import annotations

from collections.abc import Mapping

from pgswitch.wire import encode
from pgswitch.wire.params import Tracking, Values
from pgswitch.wire.spelling import (
    application_name,
    client_encoding,
    date_style,
)

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
