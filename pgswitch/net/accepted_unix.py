"""The transport of an accepted connection to the unix socket."""

from __future__ import annotations

from twisted.internet import unix


class UnixTransport(unix.Server):
    """A ``unix.Server`` that is closed without shutdown(2), which changes nothing."""

    _shouldShutdown = False
