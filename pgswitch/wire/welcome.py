"""What a client is told of its servers' parameters when its login ends.

A pool's clients mostly ask for the same, so what is made for one is kept for the
next: a third of a connection's cost otherwise (fifteen messages to put together, and
as many names to look up).
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
"""Different wishes of clients (application names, say) that one pool keeps."""
_MAX_CACHED_BYTES = 4_194_304
"""Bytes of what they are told that one pool keeps: servers that report much exist."""


class Welcome:
    """The parameters that the servers of one pool report when they are logged in to."""

    def __init__(
        self, parameters: Mapping[str, str], tracking: Tracking, since: float = 0.0
    ) -> None:
        """Take the reported parameters, in the server's order.

        ``since`` is when the server was connected to, in monotonic seconds.
        """
        self.parameters = dict(parameters)
        self.since = since
        self._tracking = tracking
        self._defaults = tracking.collect(parameters)
        self._made: dict[Values, tuple[Values, bytes]] = {}
        self._kept = 0

    def to(self, wanted: Values) -> tuple[Values, bytes]:
        """Return what a client has from now on, and the messages that tell it so.

        The values are those it asked for, as a server spells them, the others the
        servers'.  The messages are AuthenticationOk and one ParameterStatus for each
        parameter.
        """
        made = self._made.get(wanted)
        if made is None:
            made = self._make(wanted)
            self._kept += len(made[1])
            if len(self._made) >= _MAX_CACHED or self._kept > _MAX_CACHED_BYTES:
                self._made.clear()
                self._kept = len(made[1])
            self._made[wanted] = made
        return made

    def changed(self, name: str, value: str) -> Welcome:
        """Return the welcome with one parameter reported differently."""
        parameters = {**self.parameters, name: value}
        return Welcome(parameters, self._tracking, self.since)

    def _make(self, wanted: Values) -> tuple[Values, bytes]:
        tracking = self._tracking
        wanted, defaults = self._spelled(wanted), self._defaults
        encoding = tracking.value(wanted, "client_encoding")
        if encoding is not None:
            defaults = tracking.in_encoding(defaults, encoding)
        values = tracking.filled(wanted, defaults)
        told = {}
        for name, reported in self.parameters.items():
            value = tracking.value(values, name)
            told[name] = reported if value is None else value
        return values, reports(told)

    def _spelled(self, wanted: Values) -> Values:
        """Return what a client asked for as a server spells it."""
        tracking = self._tracking
        name = tracking.value(wanted, "application_name")
        if name is not None:
            version = self.parameters.get("server_version", "")
            name = application_name(name, version)
            wanted = tracking.changed(wanted, "application_name", name)
        style = tracking.value(wanted, "DateStyle")
        default = tracking.value(self._defaults, "DateStyle")
        if style is not None and default is not None:
            wanted = tracking.changed(wanted, "DateStyle", date_style(style, default))
        encoding = tracking.value(wanted, "client_encoding")
        if encoding is not None:
            encoding = client_encoding(encoding)
            wanted = tracking.changed(wanted, "client_encoding", encoding)
        return wanted


def reports(parameters: Mapping[str, str]) -> bytes:
    """Return AuthenticationOk and one ParameterStatus for each parameter."""
    return encode.auth_ok() + b"".join(
        encode.parameter_status(*item) for item in parameters.items()
    )
