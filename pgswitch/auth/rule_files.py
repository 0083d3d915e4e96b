"""The HBA file and the ident maps that its lines name, read from disk.

A file that cannot be read gives no rules, so nobody comes in by it; a line that is not
understood is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgswitch.auth.hba_file import read_hba
from pgswitch.auth.ident import IdentMap, parse_ident
from pgswitch.config.ini import read_text
from pgswitch.tls.options import for_clients
from pgswitch.types import Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgswitch.auth.hba import HbaRule
    from pgswitch.config.model import Settings

CERT_IS_HOPELESS = (
    "nobody can log in by the lines of auth_hba_file that say cert: clients are asked"
    " for certificates only with client_tls_sslmode and client_tls_ca_file"
)
CERT_OF_ANYBODY = (
    "without client_tls_ca_file the lines of auth_hba_file that say cert believe every"
    " authority that the machine knows"
)


@dataclass(slots=True)
class RuleFiles:
    """What the files have come to, and what is wrong with them, in words."""

    rules: tuple[HbaRule, ...] = ()
    unreadable: list[str] = field(default_factory=list)
    """Whole files."""
    left_out: list[str] = field(default_factory=list)
    """Single lines."""
    doubtful: list[str] = field(default_factory=list)
    """Rules that let in nobody, or too many, as other settings are."""
    useless: list[str] = field(default_factory=list)
    """Whole files without a line that can be read."""

    @property
    def hindrances(self) -> list[str]:
        """Return why a reload is not to put them in force; nothing if it may.

        Single lines that are left out are no reason, as in PgBouncer.
        """
        if self.useless:
            return [*self.unreadable, *self.left_out, *self.useless]
        return self.unreadable


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
