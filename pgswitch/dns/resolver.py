"""Gives the addresses of a host: kept for a while, each name asked for once at a time.

The settings are those of PgBouncer: an answer holds for ``dns_max_ttl`` seconds, a
failure for ``dns_nxdomain_ttl``; nothing is asked before somebody wants to connect.

Names of the nodes of clusters are another matter.  Their connections are kept, so that
nobody asks; they are looked up again whenever an answer is too old.  And a node is one
machine: of several addresses, all use the one that the monitor has *settled* on.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure

from pgswitch.dns.cache import Addresses, NameCache
from pgswitch.dns.lookup import LookupFailed
from pgswitch.dns.zones import Zones

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pgswitch.dns.cache import DnsHostRow as HostRow
    from pgswitch.dns.lookup import HostLookup
    from pgswitch.dns.zones import DnsZoneRow as ZoneRow
    from pgswitch.logs import Log

MIN_RENEW_S = 1.0
"""How often a name is looked up again at most, however short answers hold."""
UNFORESEEN = -1
"""Shown as the result of a look-up that ended in a way that is not foreseen."""


class NameSettings(Protocol):
    """The settings of the name service, in seconds."""

    @property
    def dns_max_ttl(self) -> float:
        """How long an answer is kept."""

    @property
    def dns_nxdomain_ttl(self) -> float:
        """How long a failure is kept."""

    @property
    def dns_zone_check_period(self) -> float:
        """How often the serial numbers of zones are looked at; 0: never."""


def _none() -> Iterable[str]:
    return ()


class Resolver:
    """All host names of the process."""

    def __init__(
        self,
        look_up: HostLookup,
        serial_of: Callable[[str], Deferred[int]],
        *,
        settings: Callable[[], NameSettings],
        clock: Callable[[], float],
        log: Log,
        moved: Callable[[str, frozenset[str]], None],
    ) -> None:
        """Tell ``moved`` of the addresses that a name has no longer."""
        self._look_up = look_up
        self._settings = settings
        self._clock = clock
        self._log = log
        self._moved = moved
        self._cache = NameCache()
        self._waiting: dict[str, list[Deferred[Addresses]]] = {}
        """By the name that is being looked up: who wants to know."""
        self._zones = Zones(serial_of, self._ask_again, log)
        self.kept: Callable[[], Iterable[str]] = _none
        """Returns the names that are to be looked up again in time."""
        self._renewed_at: dict[str, float] = {}
        self._pinned: dict[str, str] = {}
        """Which address of a name is used, of several."""

    def addresses(self, host: str) -> Deferred[Addresses]:
        """Return the addresses of a name or an address, the one to try first first.

        Fails with twisted's DNSLookupError. May be cancelled, which does not end a
        look-up that others wait for too.
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
        """Have a name lead to this one of its addresses, as long as it is one.

        Whoever comes first settles it for all.
        """
        if host in self._pinned:
            return
        spelled = self._cache.spelled(host, address)
        if spelled:
            self._pinned[host] = spelled

    def unpin(self, host: str) -> None:
        """Have all addresses of a name tried again: the one settled on is no use."""
        self._pinned.pop(host, None)

    def _steady(self, host: str, addresses: Addresses) -> Addresses:
        settled = self._pinned.get(host)
        return addresses if settled is None or settled not in addresses else (settled,)

    def sweep(self, now: float) -> None:
        """Do what is due; ``now`` in monotonic seconds."""
        for host in self.kept():
            renewed_at = self._renewed_at.get(host, float("-inf"))
            if self._cache.is_due(host, now) and now - renewed_at >= MIN_RENEW_S:
                self._renewed_at[host] = now
                self._ask_again(host)
        self._zones.sweep(now, self._settings().dns_zone_check_period)

    # What the console shows.

    def hosts(self) -> Iterator[HostRow]:
        """Return the rows of SHOW DNS_HOSTS."""
        return self._cache.rows(self._clock())

    def zones(self) -> Iterator[ZoneRow]:
        """Return the rows of SHOW DNS_ZONES."""
        return self._zones.rows()

    def counts(self) -> tuple[int, int, int]:
        """Return how many names and zones are known, and look-ups are under way."""
        return len(self._cache), len(self._zones), len(self._waiting)

    # Looking up.

    def _ask(self, host: str) -> None:
        """Look a name up, whatever is known of it."""
        self._zones.note(host)
        self._look_up(host).addCallbacks(
            self._answered, self._failed, callbackArgs=(host,), errbackArgs=(host,)
        )

    def _ask_again(self, host: str) -> None:
        """Look up a name whose zone has changed, unless that is under way."""
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
                # Before anybody connects to the new ones.
                self._moved(host, gone)
        finally:
            self._tell(host)

    def _failed(self, failure: Failure, host: str) -> None:
        error = failure.value
        if not isinstance(error, LookupFailed):
            self._log.error(f"look-up of {host}: {error!r}")
            error = LookupFailed(host, UNFORESEEN, is_certain=False)
        self._log.warning(f"DNS lookup failed: {error}")
        until = self._clock() + self._settings().dns_nxdomain_ttl
        self._cache.failed(host, until, is_certain=error.is_certain)
        self._tell(host)

    def _tell(self, host: str) -> None:
        """Answer all who wait, each with another address first.

        What is kept for 0 seconds is told to them all the same.
        """
        for waiting in self._waiting.pop(host, []):
            addresses = self._steady(host, self._cache.next(host))
            if waiting.called:
                continue  # Cancelled by one of those that were told before.
            if addresses:
                waiting.callback(addresses)
            else:
                waiting.errback(_not_found(host))


def _not_found(host: str) -> Failure:
    return Failure(DNSLookupError(f"address of {host} not found"))
