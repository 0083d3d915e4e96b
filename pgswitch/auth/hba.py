"""Rules of the HBA file as values, and which of them a client falls under.

The first rule that fits decides (PostgreSQL's manual, "The pg_hba.conf File").  A rule
that names hosts cannot be told to fit before the name of the client's address is
known: then :func:`decide` says so, and is asked again with the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from pgswitch.auth.ident import IdentMap
from pgswitch.auth.ldap_options import LdapOptions
from pgswitch.types import Method

IpAddress = IPv4Address | IPv6Address
PAM_SERVICE: Final = "pgbouncer"
"""The file in /etc/pam.d that says what PAM asks for."""
Network = tuple[IpAddress, int]
"""An address and the bits of it that count, as a number."""


class ConnectionType(Enum):
    """The ways to connect that a rule may be for: its first word."""

    LOCAL = "local"
    HOST = "host"
    HOSTSSL = "hostssl"
    HOSTNOSSL = "hostnossl"


class SameNet(Enum):
    """Addresses that depend on the machine we run on."""

    SAMEHOST = "samehost"
    SAMENET = "samenet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """What is known of a client when its rule is looked for.

    ``address`` is None on a unix socket. ``names`` are the host names that belong to
    the address and lead back to it; None while nobody has looked.
    """

    database: str
    user: str
    address: IpAddress | None = None
    is_tls: bool = False
    is_physical: bool = False
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NameList:
    """Databases or users: all, some by name, some by regular expression.

    The keywords count for databases; PgBouncer reads them for users too.
    """

    everything: bool = False
    same_user: bool = False
    replication: bool = False
    names: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()

    def has(self, name: str, user: str) -> bool:
        """Tell whether a name is among them; ``user`` is the client's."""
        return (
            self.everything
            or name in self.names
            or (self.same_user and name == user)
            or any(pattern.search(name) for pattern in self.patterns)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressMatch:
    """Where a client of a TCP rule may come from.

    ``host`` is a name, or a domain with a dot before it.
    """

    everywhere: bool = False
    network: Network | None = None
    near: SameNet | None = None
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthRequirement:
    """What a client has to show.

    ``ident`` goes with certificates and peers; ``ldap`` are the options of a directory,
    ``service`` is the name of PAM's.
    """

    method: Method
    ident: IdentMap | None = field(default=None, repr=False)
    ldap: LdapOptions | None = field(default=None, repr=False)
    service: str = PAM_SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class HbaRule:
    """One line: whom it is for, and what they have to show.

    ``place`` is None for unix sockets.
    """

    line: int
    link: ConnectionType
    databases: NameList
    users: NameList
    place: AddressMatch | None
    requirement: AuthRequirement


NEEDS_NAMES: Final = object()
"""The answer of :func:`decide` that asks for ``ConnectionInfo.names``."""

NearTest = Callable[[SameNet, IpAddress], bool]
"""Tells whether an address is that of this machine, or in one of its networks."""


def decide(
    rules: Iterable[HbaRule], connection_info: ConnectionInfo, is_near: NearTest
) -> HbaRule | object | None:
    """Return the first rule that fits; None if there is none; or NEEDS_NAMES."""
    for rule in rules:
        if not _fits_link(rule.link, connection_info) or not _fits_names(
            rule, connection_info
        ):
            continue
        if rule.place is None or connection_info.address is None:
            return rule
        if rule.place.host and connection_info.names is None:
            return NEEDS_NAMES
        if _fits_place(
            rule.place, connection_info.address, connection_info.names or (), is_near
        ):
            return rule
    return None


def _fits_link(link: ConnectionType, connection_info: ConnectionInfo) -> bool:
    if connection_info.address is None or link is ConnectionType.LOCAL:
        return connection_info.address is None and link is ConnectionType.LOCAL
    if link is ConnectionType.HOST:
        return True
    return connection_info.is_tls is (link is ConnectionType.HOSTSSL)


def _fits_names(rule: HbaRule, connection_info: ConnectionInfo) -> bool:
    """Tell whether database and user are the rule's.

    A physical replication connection has no database: only the keyword is for it.
    """
    databases = rule.databases
    if connection_info.is_physical:
        fits = databases.replication
    else:
        fits = databases.has(connection_info.database, connection_info.user)
    return fits and rule.users.has(connection_info.user, connection_info.user)


def _fits_place(
    place: AddressMatch, address: IpAddress, names: tuple[str, ...], is_near: NearTest
) -> bool:
    if place.everywhere:
        return True
    if place.network is not None:
        return in_network(address, place.network)
    if place.near is not None:
        return is_near(place.near, address)
    wanted = place.host.lower()
    if wanted.startswith("."):
        return any(name.lower().endswith(wanted) for name in names)
    return any(name.lower() == wanted for name in names)


def in_network(address: IpAddress, network: Network) -> bool:
    """Tell whether an address agrees with another one in all bits that count."""
    base, mask = network
    return address.version == base.version and int(address) & mask == int(base) & mask


def plain_address(text: str) -> IpAddress:
    """Return an address without zone; IPv4 inside IPv6 as the IPv4 it is.

    ValueError if the text is none.
    """
    address = ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped
