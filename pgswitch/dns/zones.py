"""Watches DNS zones: a new serial number means that names may have changed.

A name's zone is everything after its first dot.  One lookup of a serial number is
cheaper than looking up all names, and shows a change before ``dns_max_ttl`` is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from pgswitch.logs import Log

SERIALS = 2**32
HALF = 2**31
"""Serial numbers wrap around (RFC 1982): a newer one is less than half ahead."""


class DnsZoneRow(NamedTuple):
    """One row of SHOW DNS_ZONES; the serial is 0 until it is known."""

    zone: str
    serial: int
    names: int


def zone_of(name: str) -> str:
    """Return the zone of a name; empty if it has none."""
    return name.partition(".")[2]


class Zones:
    """Checks the serial numbers of all zones, one after the other."""

    def __init__(
        self,
        serial_of: Callable[[str], Deferred[int]],
        changed: Callable[[str], None],
        log: Log,
    ) -> None:
        """Take the lookup; ``changed`` gets each name of a zone with a new serial."""
        self._serial_of = serial_of
        self._changed = changed
        self._log = log
        self._names: dict[str, set[str]] = {}
        self._serials: dict[str, int] = {}
        self._left: list[str] = []
        self._asking = False
        self._next = float("-inf")

    def __len__(self) -> int:
        """Return the number of zones."""
        return len(self._names)

    def note(self, name: str) -> None:
        """Watch the zone of a name."""
        zone = zone_of(name)
        if zone:
            self._names.setdefault(zone, set()).add(name)

    def sweep(self, now: float, period: float) -> None:
        """Start a round if one is due; a ``period`` of 0 seconds means never."""
        if not period or now < self._next or self._asking or self._left:
            return
        self._next = now + period
        self._left = sorted(self._names)
        self._ask_next()

    def rows(self) -> Iterator[DnsZoneRow]:
        """Return the zones by name."""
        for zone, names in sorted(self._names.items()):
            yield DnsZoneRow(zone, self._serials.get(zone, 0), len(names))

    def _ask_next(self) -> None:
        while self._left and not self._asking:
            zone = self._left.pop(0)
            self._asking = True
            self._serial_of(zone).addCallbacks(
                self._answered, self._failed, callbackArgs=(zone,)
            ).addBoth(lambda _done: self._go_on())

    def _go_on(self) -> None:
        self._asking = False
        self._ask_next()

    def _answered(self, serial: int, zone: str) -> None:
        old = self._serials.get(zone)
        if old is None:
            self._serials[zone] = serial
        elif 0 < (serial - old) % SERIALS < HALF:
            self._serials[zone] = serial
            self._log.log(f"zone '{zone}' serial changed: old={old} new={serial}")
            for name in sorted(self._names[zone]):
                self._changed(name)

    def _failed(self, _failure: Failure) -> None:
        """Do nothing: the next round asks again."""
