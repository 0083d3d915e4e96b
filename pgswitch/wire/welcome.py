"""What a client is told of its servers' parameters when its login ends.

A pool's clients mostly ask for the same, so what is made for one is kept for the
next: a third of a connection's cost otherwise (fifteen messages to put together, and
as many names to look up).
"""

from __future__ import annotations

from collections.abc import Mapping

from pgswitch.wire import encode
from pgswitch.wire.params import Tracking, Values

_KEPT_MOST = 1000
"""Different wishes of clients (application names, say) that one pool keeps."""


class Welcome:
    """The parameters that the servers of one pool report when they are logged in to."""

    def __init__(self, parameters: Mapping[str, str], tracking: Tracking) -> None:
        """Take the reported parameters, in the server's order."""
        self.parameters = dict(parameters)
        self._tracking = tracking
        self._defaults = tracking.collect(parameters)
        self._made: dict[Values, tuple[Values, bytes]] = {}

    def to(self, wanted: Values) -> tuple[Values, bytes]:
        """Return what a client has from now on, and the messages that tell it so.

        The values are those it asked for, the others the servers'.  The messages are
        AuthenticationOk and one ParameterStatus for each parameter.
        """
        made = self._made.get(wanted)
        if made is None:
            if len(self._made) >= _KEPT_MOST:
                self._made.clear()
            made = self._made[wanted] = self._make(wanted)
        return made

    def _make(self, wanted: Values) -> tuple[Values, bytes]:
        values = self._tracking.filled(wanted, self._defaults)
        return values, reports(
            {
                name: self._tracking.value(values, name) or value
                for name, value in self.parameters.items()
            }
        )


def reports(parameters: Mapping[str, str]) -> bytes:
    """Return AuthenticationOk and one ParameterStatus for each parameter."""
    return encode.auth_ok() + b"".join(
        encode.parameter_status(*item) for item in parameters.items()
    )
