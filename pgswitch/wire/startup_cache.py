"""What a StartupMessage asks for, judged once for all who send the same.

An application's connections begin with the same bytes; taking them apart and sorting
their parameters again each time was a sixth of what a connection costs.
"""

from __future__ import annotations

from typing import NamedTuple

from pgswitch.wire.params import Tracking, Values
from pgswitch.wire.startup import (
    Startup,
    StartupFacts,
    VersionNegotiation,
    negotiate,
    sort_parameters,
)

_MAX_CACHED = 1000
_KEPT_SIZE = 512
"""Bytes of a packet worth keeping: half a megabyte in all, whatever strangers send."""


class ParsedStartup(NamedTuple):
    """What a packet says, what to negotiate, and the tracked values it wishes."""

    facts: StartupFacts
    negotiation: VersionNegotiation
    parameters: Values


class StartupCache:
    """Judges packets by one version of the settings."""

    def __init__(self, tracking: Tracking, ignored: tuple[str, ...]) -> None:
        """``ignored`` is the setting ignore_startup_parameters."""
        self.ignored = ignored
        self._tracking = tracking
        self.packets: dict[bytes, Startup] = {}
        """The packets that were judged, by their bytes; see FirstPacketReader."""
        self._known: dict[bytes, ParsedStartup] = {}

    def parse(self, startup: Startup) -> ParsedStartup:
        """Return what a packet asks for.

        Raises what ``sort_parameters`` raises.
        """
        known = self._known.get(startup.raw)
        if known is not None:
            return known
        parameters = startup.parameters
        facts = sort_parameters(
            parameters, tracked=self._tracking.names, ignore=self.ignored
        )
        parsed_startup = ParsedStartup(
            facts,
            negotiate(startup.minor, parameters),
            self._tracking.collect(facts.tracked),
        )
        if len(startup.raw) <= _KEPT_SIZE:
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
                self.packets.clear()
            self.packets[startup.raw] = startup
            self._known[startup.raw] = parsed_startup
        return parsed_startup
