"""Which authentication a client needs: auth_type, or the HBA file's first match.

The HBA file, and the ident maps that its lines name, are read at start and on RELOAD.
A file that cannot be read gives no rules, so it lets no client in; a line that cannot
be parsed is left out.  The log says why.

Some rules depend on this machine: on its networks (``samenet``), and on the names that
its resolver has for a client's address.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import ifaddr
from twisted.internet.defer import Deferred

from pgswitch.auth.hba import (
    NEEDS_NAMES,
    AuthRequirement,
    ConnectionInfo,
    HbaRule,
    IpAddress,
    Network,
    SameNet,
    decide,
    in_network,
    plain_address,
)
from pgswitch.auth.hba_file import read_hba
from pgswitch.auth.ident import IdentMap, parse_ident
from pgswitch.auth.ldap import LdapOptions, parse_ldap
from pgswitch.config.load import read_text
from pgswitch.errors import NoAuthenticationMethod
from pgswitch.tls.contexts import for_clients
from pgswitch.types import AuthType, Method
from pgswitch.wire.startup import Replication

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgswitch.config.model import Settings
    from pgswitch.logs import Log
    from pgswitch.net.frontend import Frontend


_BY_FILE: Final = AuthType.HBA
"""A final name, because each use of an enumeration's member costs a look-up."""
CERT_IS_HOPELESS = (
    "nobody can log in by the lines of auth_hba_file that say cert: clients are asked"
    " for certificates only with client_tls_sslmode and client_tls_ca_file"
)
CERT_OF_ANYBODY = (
    "without client_tls_ca_file the lines of auth_hba_file that say cert believe every"
    " authority that the machine knows"
)


class RuleFiles:
    """The rules of the HBA file, and the problems with the files, in words."""

    def __init__(self) -> None:
        """Begin without rules."""
        self.rules: tuple[HbaRule, ...] = ()
        self.unreadable: list[str] = []
        """Whole files."""
        self.left_out: list[str] = []
        """Single lines."""
        self.doubtful: list[str] = []
        """Rules that let in no client, or too many, as other settings are."""
        self.useless: list[str] = []
        """Whole files without a line that can be read."""

    @property
    def hindrances(self) -> list[str]:
        """Return why a reload must not put the rules in force; empty if it may.

        Single lines that are left out are no reason, as in PgBouncer.
        """
        if self.useless:
            return [*self.unreadable, *self.left_out, *self.useless]
        return self.unreadable


class HbaPolicy:
    """Decides which authentication clients need."""

    def __init__(
        self, log: Log, work: Callable[[Callable[[], object]], Deferred[object]]
    ) -> None:
        """``work`` makes a call in a thread: the look-up of a client's host name."""
        self._log = log
        self._work = work
        self._rules: tuple[HbaRule, ...] = ()
        self._requirement = AuthRequirement(method=Method.REJECT)
        self._ldap: LdapOptions | None = None
        """auth_ldap_options: for lines that say ldap without options."""
        self.asks_scram = False
        """Whether any rule, or auth_type, is scram-sha-256."""

    def load(self, settings: Settings) -> None:
        """Take the settings, and read the files they name."""
        self.take(settings, self.read(settings))

    def read(self, settings: Settings) -> RuleFiles | None:
        """Return the rules in the files; None if the settings use none."""
        if settings.auth_type is not AuthType.HBA:
            return None
        return read_rule_files(settings)

    def take(self, settings: Settings, found: RuleFiles | None) -> None:
        """Take the settings, and what :meth:`read` has found by them."""
        options = settings.auth_ldap_options
        self._ldap = parse_ldap(options) if options else None
        if found is not None:
            for problem in (*found.unreadable, *found.useless):
                self._log.error(problem)
            for problem in (*found.left_out, *found.doubtful):
                self._log.warning(problem)
            self._rules = found.rules
            self._requirement = AuthRequirement(method=Method.REJECT)
        else:
            self._rules = ()
            method = Method(settings.auth_type.value)
            self._requirement = AuthRequirement(method=method, ldap=self._ldap)
        requirements = [rule.requirement for rule in self._rules] or [self._requirement]
        self.asks_scram = any(
            one.method is Method.SCRAM_SHA_256 for one in requirements
        )

    def requirement(
        self, client: Frontend, auth_type: AuthType
    ) -> AuthRequirement | Deferred[AuthRequirement]:
        """Return what a client has to prove; raises NoAuthenticationMethod."""
        if auth_type is not _BY_FILE:
            return self._requirement
        connection_info = connection_info_of(client)
        rule = decide(self._rules, connection_info, is_near)
        if rule is NEEDS_NAMES:
            look_up = partial(reverse_lookup, str(connection_info.address))
            return self._work(look_up).addCallback(self._named, connection_info)
        return self._requirement_of(rule)

    def _named(self, names: object, connection_info: ConnectionInfo) -> AuthRequirement:
        found = names if isinstance(names, tuple) else ()
        rule = decide(self._rules, replace(connection_info, names=found), is_near)
        return self._requirement_of(rule)

    def _requirement_of(self, rule: object) -> AuthRequirement:
        if not isinstance(rule, HbaRule):
            raise NoAuthenticationMethod
        requirement = rule.requirement
        if requirement.method is Method.LDAP and requirement.ldap is None:
            return replace(requirement, ldap=self._ldap)
        return requirement


def connection_info_of(client: Frontend) -> ConnectionInfo:
    """Return what rules match, of a client that has sent its start-up packet."""
    facts, host = client.facts, client.address.host
    return ConnectionInfo(
        database=client.database,
        user=client.user,
        address=None if host == "unix" else plain_address(host),
        is_tls=client.tls is not None,
        is_physical=facts is not None and facts.replication is Replication.PHYSICAL,
    )


# Reading the files.


def read_rule_files(settings: Settings) -> RuleFiles:
    """Return the rules of auth_hba_file, by the maps of auth_ident_file."""
    found = RuleFiles()
    maps = _maps(settings.auth_ident_file, found)
    path = settings.auth_hba_file
    try:
        hba = read_hba(path, read_text, maps)
    except OSError as error:
        found.unreadable.append(
            f"could not open hba config file {path}: {error.strerror}"
        )
        return found
    found.rules = tuple(hba.rules)
    methods = {rule.requirement.method for rule in found.rules}
    if Method.CERT in methods:
        if not for_clients(settings).asks_clients:
            found.doubtful.append(CERT_IS_HOPELESS)
        elif not settings.client_tls_ca_file:
            found.doubtful.append(CERT_OF_ANYBODY)
    for problem in hba.problems:
        where = "" if problem.path == path else f" of {problem.path}"
        found.left_out.append(
            f"could not parse hba config line {problem.line}{where}: {problem.reason}"
        )
    if hba.problems and not found.rules:
        found.useless.append(f"no line of auth_hba_file {path} can be read")
    return found


def _maps(path: str | None, found: RuleFiles) -> Mapping[str, IdentMap]:
    if not path:
        return {}
    try:
        maps, problems = parse_ident(read_text(path))
    except OSError as error:
        found.unreadable.append(
            f"could not open ident config file {path}: {error.strerror}"
        )
        return {}
    for problem in problems:
        found.left_out.append(
            f"could not parse ident config line {problem.line}: {problem.reason}"
        )
    if problems and not maps:
        found.useless.append(f"no line of auth_ident_file {path} can be read")
    return maps


# This machine.


def is_near(same_net: SameNet, address: IpAddress) -> bool:
    """Tell whether an address is one of this machine's, or in one of its networks."""
    networks = _networks()
    if same_net is SameNet.SAMEHOST:
        return any(address == base for base, _mask in networks)
    return any(in_network(address, network) for network in networks)


def _networks() -> list[Network]:
    """Return the addresses of the interfaces, with their masks."""
    networks: list[Network] = []
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            text = one.ip if isinstance(one.ip, str) else one.ip[0]
            address = plain_address(text)
            size = address.max_prefixlen
            mask = (1 << size) - (1 << (size - one.network_prefix))
            networks.append((address, mask))
    return networks


def reverse_lookup(address: str) -> tuple[str, ...]:
    """Return the host name of an address, if that name resolves back to it; blocks.

    The owner of an address chooses the name that it resolves to; only the owner of the
    name can have that resolve to the address.  (PostgreSQL's manual, "The pg_hba.conf
    File", on host names.)
    """
    try:
        name, _port = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    own = plain_address(address)
    back = {plain_address(str(one[4][0])) for one in found}
    return (name,) if own in back else ()
