"""The cache of host names: addresses, how long they hold, and which is next."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Addresses = tuple[str, ...]


@dataclass(slots=True)
class _CachedName:
    addresses: Addresses = ()
    """From the last answer that had any."""
    missing: bool = False
    """The last lookup failed, and no older answer may replace it."""
    until: float = float("-inf")
    turn: int = 0


class DnsHostRow(NamedTuple):
    """One row of SHOW DNS_HOSTS; ``ttl``: seconds until the next lookup."""

    name: str
    ttl: float
    addresses: Addresses


class NameCache:
    """Names with their addresses; times are monotonic seconds.

    The TTL in a DNS answer is ignored, as in PgBouncer: ``dns_max_ttl`` is short, and
    an operator who moves a server wants to know when clients follow.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._known: dict[str, _CachedName] = {}

    def __len__(self) -> int:
        """Return the number of names that were ever looked up."""
        return len(self._known)

    def fresh(self, name: str, now: float) -> Addresses | None:
        """Return the addresses to try, in order; None: look the name up.

        The result is empty while a failure is cached. Each call starts with the next
        address, so connections spread over all of them.
        """
        known = self._known.get(name)
        return None if known is None or now >= known.until else self.next(name)

    def is_due(self, name: str, now: float) -> bool:
        """Return whether a name's entry has expired."""
        known = self._known.get(name)
        return known is not None and now >= known.until

    def spelled(self, name: str, address: str) -> str:
        """Return an address as written in the last answer for a name; "" if missing."""
        known = self._known.get(name)
        wanted = ip_address(address.partition("%")[0])
        for one in () if known is None else known.addresses:
            if ip_address(one.partition("%")[0]) == wanted:
                return one
        return ""

    def next(self, name: str) -> Addresses:
        """Return the addresses as ``fresh`` does, however old the answer is."""
        known = self._known[name]
        if known.missing:
            return ()
        first = known.turn % len(known.addresses)
        known.turn += 1
        return known.addresses[first:] + known.addresses[:first]

    def answered(
        self, name: str, addresses: Iterable[str], until: float
    ) -> frozenset[str]:
        """Store an answer; return the addresses that are no longer in it."""
        known = self._known.setdefault(name, _CachedName())
        before = known.addresses
        known.addresses = tuple(dict.fromkeys(addresses))
        known.missing = False
        known.until = until
        return frozenset(before).difference(known.addresses)

    def failed(self, name: str, until: float, *, is_certain: bool) -> None:
        """Store a failure.

        Unless the name certainly has no address, the addresses of the last answer stay
        in use: servers do not move because the name service is down.
        """
        known = self._known.setdefault(name, _CachedName())
        known.missing = is_certain or not known.addresses
        known.until = until

    def rows(self, now: float) -> Iterator[DnsHostRow]:
        """Return the rows of SHOW DNS_HOSTS, by name."""
        for name, known in sorted(self._known.items()):
            shown = () if known.missing else known.addresses
            yield DnsHostRow(name, max(known.until - now, 0.0), shown)
