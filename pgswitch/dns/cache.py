"""What is known of host names, how long it holds, and which address is next."""

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
    """Of the last answer that had any."""
    missing: bool = False
    """The last look-up failed, and no older answer may stand in for it."""
    until: float = float("-inf")
    turn: int = 0


class DnsHostRow(NamedTuple):
    """One name as SHOW DNS_HOSTS has it; ``ttl`` in seconds until it is asked again."""

    name: str
    ttl: float
    addresses: Addresses


class NameCache:
    """Names with their addresses; times are monotonic seconds.

    The time that the name service itself gives an answer does not count, as in
    PgBouncer: ``dns_max_ttl`` is short, and an operator who moves a server wants
    to know when clients follow.
    """

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._known: dict[str, _CachedName] = {}

    def __len__(self) -> int:
        """Return how many names were ever looked up."""
        return len(self._known)

    def fresh(self, name: str, now: float) -> Addresses | None:
        """Return the addresses to try, in this order; None: look the name up.

        None at all are returned while a failure is kept. Each call begins with the
        next address, so that connections spread over all of them.
        """
        known = self._known.get(name)
        return None if known is None or now >= known.until else self.next(name)

    def is_due(self, name: str, now: float) -> bool:
        """Tell whether what is known of a name holds no longer."""
        known = self._known.get(name)
        return known is not None and now >= known.until

    def spelled(self, name: str, address: str) -> str:
        """Return an address as the last answer for a name has it; empty: it has not."""
        known = self._known.get(name)
        wanted = ip_address(address.partition("%")[0])
        for one in () if known is None else known.addresses:
            if ip_address(one.partition("%")[0]) == wanted:
                return one
        return ""

    def next(self, name: str) -> Addresses:
        """Return the same of a name that was looked up, however old the answer is."""
        known = self._known[name]
        if known.missing:
            return ()
        first = known.turn % len(known.addresses)
        known.turn += 1
        return known.addresses[first:] + known.addresses[:first]

    def answered(
        self, name: str, addresses: Iterable[str], until: float
    ) -> frozenset[str]:
        """Keep an answer; return the addresses that the last one had and it has not."""
        known = self._known.setdefault(name, _CachedName())
        before = known.addresses
        known.addresses = tuple(dict.fromkeys(addresses))
        known.missing = False
        known.until = until
        return frozenset(before).difference(known.addresses)

    def failed(self, name: str, until: float, *, is_certain: bool) -> None:
        """Keep a failure.

        Unless it is certain that the name has no address, those of the last answer go
        on being used: servers do not move because the name service has stopped.
        """
        known = self._known.setdefault(name, _CachedName())
        known.missing = is_certain or not known.addresses
        known.until = until

    def rows(self, now: float) -> Iterator[DnsHostRow]:
        """Return what is known, by name."""
        for name, known in sorted(self._known.items()):
            shown = () if known.missing else known.addresses
            yield DnsHostRow(name, max(known.until - now, 0.0), shown)
