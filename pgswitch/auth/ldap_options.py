"""The options of an LDAP server: text in, one value out.

Written as in PostgreSQL's HBA file ("LDAP Authentication"): ``key=value`` pairs with
blanks or commas between, a value with either of them in double quotes.  There are two
ways to log in, and the options are for one of them:

* *bind*: as ``ldapprefix``, user name and ``ldapsuffix``, with the user's password;
* *search*: find the user below ``ldapbasedn``, then bind as what was found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

MAX_LENGTH: Final = 1023
"""Maximal length of the text in bytes, as in PgBouncer."""

SCHEMES: Final = MappingProxyType({"ldap": 389, "ldaps": 636})
"""Schemes and their ports."""
SCOPES: Final = ("base", "one", "sub")

_PAIR: Final = re.compile(
    r'[\s,]*([A-Za-z]+)\s*=\s*("(?:[^"]|"")*"|[^\s,"]*)(?=[\s,]|$)'
)
_BIND_KEYS: Final = frozenset(("ldapprefix", "ldapsuffix"))
_SEARCH_KEYS: Final = frozenset(
    (
        "ldapbasedn",
        "ldapbinddn",
        "ldapbindpasswd",
        "ldapsearchattribute",
        "ldapsearchfilter",
    )
)
_KEYS: Final = (
    _BIND_KEYS
    | _SEARCH_KEYS
    | {"ldaptls", "ldapscheme", "ldapserver", "ldapport", "ldapurl"}
)


class LdapOptionsError(ValueError):
    """The text cannot be parsed; the message contains no password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LdapOptions:
    """Where the directory is, and how a user logs in there."""

    servers: tuple[str, ...] = ()
    """Names in the order to try; none means those that DNS has for the base."""
    scheme: str = "ldap"
    port: int = 0
    """0 stands for the scheme's own."""
    start_tls: bool = False
    prefix: str = ""
    suffix: str = ""
    base: str | None = None
    """Where to search; None is the way of prefix and suffix."""
    bind_dn: str = ""
    bind_password: str = field(default="", repr=False)
    attribute: str = "uid"
    filter: str = ""
    """Used in place of the attribute; ``$username`` stands for the user."""
    scope: str = "sub"


def parse_ldap(text: str) -> LdapOptions:
    """Return the options; raises LdapOptionsError."""
    if len(text.encode("utf-8", "surrogateescape")) > MAX_LENGTH:
        raise LdapOptionsError("LDAP options are too long")
    given = _pairs(text)
    options = _with_url(given)
    is_search = not _SEARCH_KEYS.isdisjoint(options)
    if is_search and not _BIND_KEYS.isdisjoint(options):
        raise LdapOptionsError(
            "ldapprefix and ldapsuffix do not go with options of a search"
        )
    if is_search and not options.get("ldapbasedn"):
        raise LdapOptionsError("a search needs ldapbasedn")
    if not is_search and _BIND_KEYS.isdisjoint(options):
        raise LdapOptionsError("one of ldapbasedn, ldapprefix, ldapsuffix is needed")
    if "ldapsearchattribute" in options and "ldapsearchfilter" in options:
        raise LdapOptionsError(
            "ldapsearchattribute and ldapsearchfilter exclude each other"
        )
    servers = tuple(options.get("ldapserver", "").split())
    if not servers and not is_search:
        raise LdapOptionsError("ldapserver is needed")
    scheme = options.get("ldapscheme", "ldap")
    if scheme not in SCHEMES:
        raise LdapOptionsError(f"unknown ldapscheme: {scheme}")
    return LdapOptions(
        servers=servers,
        scheme=scheme,
        port=_number(options, "ldapport", 65535),
        start_tls=_number(options, "ldaptls", 1) == 1,
        prefix=options.get("ldapprefix", ""),
        suffix=options.get("ldapsuffix", ""),
        base=options["ldapbasedn"] if is_search else None,
        bind_dn=options.get("ldapbinddn", ""),
        bind_password=options.get("ldapbindpasswd", ""),
        attribute=options.get("ldapsearchattribute", "uid"),
        filter=options.get("ldapsearchfilter", ""),
        scope=options.get("scope", "sub"),
    )


def _pairs(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    at = 0
    while text[at:].strip(" \t,"):
        found = _PAIR.match(text, at)
        if found is None:
            raise LdapOptionsError(
                f"LDAP options: not understood at character {at + 1}"
            )
        key, value = found.groups()
        if key not in _KEYS:
            raise LdapOptionsError(f"unknown LDAP option: {key}")
        if value.startswith('"'):
            value = value[1:-1].replace('""', '"')
        given[key] = value
        at = found.end()
    return given


def _with_url(given: Mapping[str, str]) -> dict[str, str]:
    """Return the options with ldapurl (RFC 4516) taken apart."""
    options = {key: value for key, value in given.items() if key != "ldapurl"}
    url = given.get("ldapurl")
    if url is None:
        return options
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise LdapOptionsError("ldapurl is no URL") from None
    attribute, scope, search_filter, *_ = [*parts.query.split("?"), "", "", ""]
    if scope and scope not in SCOPES:
        raise LdapOptionsError(f"unknown scope in ldapurl: {scope}")
    said = {
        "ldapscheme": parts.scheme,
        "ldapserver": parts.hostname or "",
        "ldapport": str(port or ""),
        "ldapbasedn": unquote(parts.path.removeprefix("/")),
        "ldapsearchattribute": unquote(attribute),
        "ldapsearchfilter": unquote(search_filter),
        "scope": scope,
    }
    return {key: value for key, value in said.items() if value} | options


def _number(options: Mapping[str, str], key: str, limit: int) -> int:
    text = options.get(key, "0")
    if not text.isascii() or not text.isdigit() or int(text) > limit:
        raise LdapOptionsError(f"{key} is no number up to {limit}")
    return int(text)
