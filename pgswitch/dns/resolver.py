"""Resolves host names: cached, with at most one lookup of a name at a time.

The settings are PgBouncer's: an answer is cached for ``dns_max_ttl`` seconds, a failure
for ``dns_nxdomain_ttl``; a name is looked up only when a connection needs it.

Names of cluster nodes differ.  Their connections stay open, so nothing would trigger a
lookup; they are looked up again whenever an answer has expired.  And a node is one
machine: if it has several addresses, all connections use the one that the monitor has
*pinned*.

DNS zones are watched as well: a new serial number means that names may have changed.
A name's zone is everything after its first dot.  One lookup of a serial number is
cheaper than looking up all names, and shows a change before ``dns_max_ttl`` is over.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure

from pgswitch.dns.cache import Addresses, NameCache
from pgswitch.dns.lookup import LookupFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pgswitch.dns.cache import DnsHostRow
    from pgswitch.dns.lookup import HostLookup
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


MIN_RENEW_S = 1.0
"""Minimum time between two lookups of a name, however short the TTL."""
UNFORESEEN = -1
"""Logged as the result of a lookup that failed in an unexpected way."""


class ResolverSettings(Protocol):
    """The settings of the resolver, in seconds."""

    @property
    def dns_max_ttl(self) -> float:
        """How long an answer is cached."""

    @property
    def dns_nxdomain_ttl(self) -> float:
        """How long a failure is cached."""

    @property
    def dns_zone_check_period(self) -> float:
        """How often the serial numbers of zones are checked; 0: never."""


def _none() -> Iterable[str]:
    return ()


class Resolver:
    """Resolves all host names of the process."""

    def __init__(
        self,
        look_up: HostLookup,
        serial_of: Callable[[str], Deferred[int]],
        *,
        settings: Callable[[], ResolverSettings],
        clock: Callable[[], float],
        log: Log,
        moved: Callable[[str, frozenset[str]], None],
    ) -> None:
        """Take the lookups; ``moved`` gets a name and the addresses it has lost."""
        self._look_up = look_up
        self._settings = settings
        self._clock = clock
        self._log = log
        self._moved = moved
        self._cache = NameCache()
        self._waiting: dict[str, list[Deferred[Addresses]]] = {}
        """Waiting requests by name; a name in it is being looked up."""
        self._zones = Zones(serial_of, self._ask_again, log)
        self.permanent_names: Callable[[], Iterable[str]] = _none
        """Returns the names of nodes, which are looked up whenever they expire."""
        self._renewed_at: dict[str, float] = {}
        self._pinned: dict[str, str] = {}
        """The one address to use, by name."""

    def addresses(self, host: str) -> Deferred[Addresses]:
        """Return the addresses of a name (or of an address), the first to try first.

        Fails with Twisted's DNSLookupError. May be cancelled; the lookup goes on, for
        others may wait for it.
        """
        if isIPAddress(host) or isIPv6Address(host.partition("%")[0]):
            return succeed((host,))
        known = self._cache.fresh(host, self._clock())
        if known:
            return succeed(self._steady(host, known))
        if known is not None:
            return fail(_not_found(host))
        answer: Deferred[Addresses] = Deferred(partial(self._give_up, host))
        is_asked = host in self._waiting
        self._waiting.setdefault(host, []).append(answer)
        if not is_asked:
            self._ask(host)
        return answer

    def pin(self, host: str, address: str) -> None:
        """Use only this address of a name, as long as it is one of its addresses.

        The first call wins.
        """
        if host in self._pinned:
            return
        spelled = self._cache.spelled(host, address)
        if spelled:
            self._pinned[host] = spelled

    def unpin(self, host: str) -> None:
        """Use all addresses of a name again: the pinned one does not work."""
        self._pinned.pop(host, None)

    def _steady(self, host: str, addresses: Addresses) -> Addresses:
        pinned = self._pinned.get(host)
        return addresses if pinned is None or pinned not in addresses else (pinned,)

    def sweep(self, now: float) -> None:
        """Look up expired names of nodes and check zones; ``now``: monotonic."""
        for host in self.permanent_names():
            renewed_at = self._renewed_at.get(host, float("-inf"))
            if self._cache.is_due(host, now) and now - renewed_at >= MIN_RENEW_S:
                self._renewed_at[host] = now
                self._ask_again(host)
        self._zones.sweep(now, self._settings().dns_zone_check_period)

    # Shown by the console.

    def hosts(self) -> Iterator[DnsHostRow]:
        """Return the rows of SHOW DNS_HOSTS."""
        return self._cache.rows(self._clock())

    def zones(self) -> Iterator[DnsZoneRow]:
        """Return the rows of SHOW DNS_ZONES."""
        return self._zones.rows()

    def counts(self) -> tuple[int, int, int]:
        """Return the numbers of names, of zones and of lookups in progress."""
        return len(self._cache), len(self._zones), len(self._waiting)

    # Looking up.

    def _ask(self, host: str) -> None:
        """Look a name up, even if it is cached."""
        self._zones.note(host)
        self._look_up(host).addCallbacks(
            self._answered, self._failed, callbackArgs=(host,), errbackArgs=(host,)
        )

    def _ask_again(self, host: str) -> None:
        """Look a name up again, unless a lookup is in progress."""
        if host not in self._waiting:
            self._waiting[host] = []
            self._ask(host)

    def _give_up(self, host: str, answer: Deferred[Addresses]) -> None:
        waiting = self._waiting.get(host, [])
        if answer in waiting:
            waiting.remove(answer)

    def _answered(self, addresses: Addresses, host: str) -> None:
        now = self._clock()
        gone = self._cache.answered(host, addresses, now + self._settings().dns_max_ttl)
        if self._pinned.get(host) in gone:
            del self._pinned[host]
        try:
            if gone:
                # Before anything connects to the new addresses.
                self._moved(host, gone)
        finally:
            self._tell(host)

    def _failed(self, failure: Failure, host: str) -> None:
        error = failure.value
        if not isinstance(error, LookupFailed):
            self._log.error(f"lookup of {host}: {error!r}")
            error = LookupFailed(host, UNFORESEEN, is_certain=False)
        self._log.warning(f"DNS lookup failed: {error}")
        until = self._clock() + self._settings().dns_nxdomain_ttl
        self._cache.failed(host, until, is_certain=error.is_certain)
        self._tell(host)

    def _tell(self, host: str) -> None:
        """Answer all waiting requests, each with another address first.

        They get the answer even if its TTL is 0 seconds.
        """
        for waiting in self._waiting.pop(host, []):
            addresses = self._steady(host, self._cache.next(host))
            if waiting.called:
                continue  # A callback of an earlier one has cancelled it.
            if addresses:
                waiting.callback(addresses)
            else:
                waiting.errback(_not_found(host))


def _not_found(host: str) -> Failure:
    return Failure(DNSLookupError(f"address of {host} not found"))
