"""The rules of the HBA file as values, and the match of a client against them.

The first rule that matches decides (PostgreSQL's manual, "The pg_hba.conf File").  A
rule with a host name needs the names of the client's address: then :func:`decide`
returns NEEDS_NAMES, and the caller calls it again with the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from pgswitch.auth.ident import IdentMap
from pgswitch.auth.ldap import LdapOptions
from pgswitch.types import Method

IpAddress = IPv4Address | IPv6Address
PAM_SERVICE: Final = "pgbouncer"
"""The PAM service: a file in /etc/pam.d."""
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
    """The facts about a client that rules match.

    ``address`` is None on a unix socket.  ``names`` are the host names of the address
    that resolve back to it; None before the look-up.
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

    The keywords are for databases; PgBouncer accepts them for users, too.
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
    """The address of a client that a TCP rule matches.

    ``host`` is a name, or a domain with a dot before it.
    """

    everywhere: bool = False
    network: Network | None = None
    same_net: SameNet | None = None
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthRequirement:
    """The authentication that a rule, or the setting, requires of a client.

    ``ident`` goes with certificates and peers; ``ldap`` are the options of a directory,
    ``service`` is the name of PAM's.
    """

    method: Method
    ident: IdentMap | None = field(default=None, repr=False)
    ldap: LdapOptions | None = field(default=None, repr=False)
    service: str = PAM_SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class HbaRule:
    """One line: the clients that it matches, and the authentication that they need.

    ``address`` is None for unix sockets.
    """

    line: int
    connection: ConnectionType
    databases: NameList
    users: NameList
    address: AddressMatch | None
    requirement: AuthRequirement


NEEDS_NAMES: Final = object()
"""Returned by :func:`decide` if it needs ``ConnectionInfo.names``."""

IsNear = Callable[[SameNet, IpAddress], bool]
"""Tells whether an address is that of this machine, or in one of its networks."""


def decide(
    rules: Iterable[HbaRule], connection_info: ConnectionInfo, is_near: IsNear
) -> HbaRule | object | None:
    """Return the first rule that matches; None if none does; or NEEDS_NAMES."""
    for rule in rules:
        if not _matches_connection(
            rule.connection, connection_info
        ) or not _matches_names(rule, connection_info):
            continue
        if rule.address is None or connection_info.address is None:
            return rule
        if rule.address.host and connection_info.names is None:
            return NEEDS_NAMES
        if _matches_address(
            rule.address, connection_info.address, connection_info.names or (), is_near
        ):
            return rule
    return None


def _matches_connection(kind: ConnectionType, connection_info: ConnectionInfo) -> bool:
    if connection_info.address is None or kind is ConnectionType.LOCAL:
        return connection_info.address is None and kind is ConnectionType.LOCAL
    if kind is ConnectionType.HOST:
        return True
    return connection_info.is_tls is (kind is ConnectionType.HOSTSSL)


def _matches_names(rule: HbaRule, connection_info: ConnectionInfo) -> bool:
    """Tell whether database and user are the rule's.

    A physical replication connection has no database: only the keyword is for it.
    """
    databases = rule.databases
    if connection_info.is_physical:
        fits = databases.replication
    else:
        fits = databases.has(connection_info.database, connection_info.user)
    return fits and rule.users.has(connection_info.user, connection_info.user)


def _matches_address(
    match: AddressMatch, address: IpAddress, names: tuple[str, ...], is_near: IsNear
) -> bool:
    if match.everywhere:
        return True
    if match.network is not None:
        return in_network(address, match.network)
    if match.same_net is not None:
        return is_near(match.same_net, address)
    host = match.host.lower()
    if host.startswith("."):
        return any(name.lower().endswith(host) for name in names)
    return any(name.lower() == host for name in names)


def in_network(address: IpAddress, network: Network) -> bool:
    """Tell whether an address equals the network's in all bits of the mask."""
    base, mask = network
    return address.version == base.version and int(address) & mask == int(base) & mask


def plain_address(text: str) -> IpAddress:
    """Return an address without zone; IPv4 inside IPv6 as the IPv4 it is.

    Raises ValueError if the text is not an address.
    """
    address = ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped
