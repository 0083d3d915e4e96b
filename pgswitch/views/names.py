"""Snapshots of host names and their zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import DnsHostSnapshot, DnsZoneSnapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.dns.resolver import Resolver


class NamesView:
    """SHOW DNS_HOSTS and DNS_ZONES."""

    def __init__(self, names: Resolver) -> None:
        """Look at the names of the process."""
        self._names = names

    def dns_hosts(self) -> Sequence[DnsHostSnapshot]:
        """Return the names that were looked up."""
        return [
            DnsHostSnapshot(hostname=one.name, ttl=int(one.ttl), addrs=one.addresses)
            for one in self._names.hosts()
        ]

    def dns_zones(self) -> Sequence[DnsZoneSnapshot]:
        """Return the zones of those names."""
        return [
            DnsZoneSnapshot(zonename=one.zone, serial=one.serial, count=one.names)
            for one in self._names.zones()
        ]
