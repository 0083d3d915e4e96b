"""By which method a client is judged: auth_type, or the HBA file's first rule for it.

The files are read at start and on RELOAD.  A file that cannot be read gives no rules,
so nobody comes in by it; the log says why.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from pgswitch.auth.hba import (
    NEEDS_NAMES,
    AuthRequirement,
    ConnectionInfo,
    HbaRule,
    decide,
    plain_address,
)
from pgswitch.auth.ldap_options import LdapOptions, parse_ldap
from pgswitch.auth.local_network import is_near, reverse_lookup
from pgswitch.auth.rule_files import read_rule_files
from pgswitch.errors import NoAuthenticationMethod
from pgswitch.types import AuthType, Method
from pgswitch.wire.startup import Replication

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.auth.rule_files import RuleFiles
    from pgswitch.config.model import Settings
    from pgswitch.logs import Log
    from pgswitch.net.frontend import Frontend


_BY_FILE: Final = AuthType.HBA
"""A final name: the members of an enumeration are looked up anew each time."""


class HbaPolicy:
    """What clients have to show."""

    def __init__(
        self, log: Log, work: Callable[[Callable[[], object]], Deferred[object]]
    ) -> None:
        """``work`` calls something in a thread: names of addresses are looked up."""
        self._log = log
        self._work = work
        self._rules: tuple[HbaRule, ...] = ()
        self._requirement = AuthRequirement(method=Method.REJECT)
        self._ldap: LdapOptions | None = None
        """auth_ldap_options: for lines that say ldap and no more."""
        self.asks_scram = False
        """Whether there is anybody who is judged by SCRAM for its secret in clear."""

    def load(self, settings: Settings) -> None:
        """Take the settings, and read the files they name."""
        self.take(settings, self.read(settings))

    def read(self, settings: Settings) -> RuleFiles | None:
        """Return what the files of rules say; None if the settings use none."""
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
        """Return what a client has to show; raises NoAuthenticationMethod."""
        if auth_type is not _BY_FILE:
            return self._requirement
        connection_info = connection_info_of(client)
        rule = decide(self._rules, connection_info, is_near)
        if rule is NEEDS_NAMES:
            look_up = partial(reverse_lookup, str(connection_info.address))
            return self._work(look_up).addCallback(self._named, connection_info)
        return self._requirement_of(rule)

    def _named(self, names: object, connection_info: ConnectionInfo) -> AuthRequirement:
        known = names if isinstance(names, tuple) else ()
        rule = decide(self._rules, replace(connection_info, names=known), is_near)
        return self._requirement_of(rule)

    def _requirement_of(self, rule: object) -> AuthRequirement:
        if not isinstance(rule, HbaRule):
            raise NoAuthenticationMethod
        requirement = rule.requirement
        if requirement.method is Method.LDAP and requirement.ldap is None:
            return replace(requirement, ldap=self._ldap)
        return requirement


def connection_info_of(client: Frontend) -> ConnectionInfo:
    """Return what rules ask about a client that has sent its start-up packet."""
    facts, host = client.facts, client.address.host
    return ConnectionInfo(
        database=client.database,
        user=client.user,
        address=None if host == "unix" else plain_address(host),
        is_tls=client.tls is not None,
        is_physical=facts is not None and facts.replication is Replication.PHYSICAL,
    )
