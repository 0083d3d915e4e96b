"""Checks a password against a directory; blocks, so it runs in a thread.

Needs the package ldap3 (``pip install 'pgswitch[ldap]'``). Certificates of servers are
verified by the authorities of the machine, or by those of the file that
``LDAPTLS_CACERT`` names (as for OpenLDAP's programs).

The options of an LDAP server are written as in PostgreSQL's HBA file ("LDAP
Authentication"): ``key=value`` pairs with blanks or commas between, a value with either
of them in double quotes.  There are two ways to log in, and the options are for one of
them:

* *bind*: as ``ldapprefix``, user name and ``ldapsuffix``, with the user's password;
* *search*: find the user below ``ldapbasedn``, then bind as what was found.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from twisted.internet.threads import blockingCallFromThread
from twisted.names import client, dns

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


SRV_TIMEOUTS_S: Final = (1, 3)
"""Seconds for the first and the second DNS query for a domain's directories."""
TIMEOUT_S: Final = 3
"""Seconds for each step: connecting, and each answer."""

_UNSEARCHABLE: Final = frozenset("*()\\/\0")
"""What could change the meaning of a search, in a user name."""

FindServers = Callable[[str], list[tuple[str, int]]]
"""Returns host and port of a domain's directories, from DNS; may block."""


class DirectoryError(Exception):
    """No directory could be queried; the text contains no secret."""


def is_available() -> bool:
    """Import the library; tell whether it is installed."""
    try:
        import ldap3  # noqa: F401, PLC0415 - an extra that may be missing
    except ImportError:
        return False
    return True


def check(
    options: LdapOptions, find_servers: FindServers, user: str, password: str
) -> bool:
    """Tell whether the directory takes this password for this user.

    If a server cannot be reached, the next one is tried.  Raises DirectoryError if none
    can be reached, or if the search fails.
    """
    if not password:
        return False  # To LDAP it would be an anonymous bind, which succeeds.
    if options.base is not None and not _UNSEARCHABLE.isdisjoint(user):
        return False
    reason = "no LDAP server is known"
    for host, port in _servers(options, find_servers):
        connection = None
        try:
            connection = _connected(options, host, port)
            return _log_in(connection, options, user, password)
        except _reachability_errors() as error:
            reason = f"LDAP server {host}:{port}: {type(error).__name__}"
        finally:
            if connection is not None:
                connection.unbind()
    raise DirectoryError(reason)


def _reachability_errors() -> tuple[type[Exception], ...]:
    from ldap3.core import exceptions  # noqa: PLC0415 - an extra that may be missing

    return (exceptions.LDAPCommunicationError, exceptions.LDAPStartTLSError, OSError)


def _servers(
    options: LdapOptions, find_servers: FindServers
) -> Iterable[tuple[str, int]]:
    default_port = options.port or SCHEMES[options.scheme]
    for name in options.servers:
        host, colon, port = name.rpartition(":")
        if colon and port.isdigit() and not host.endswith(":"):
            yield host, int(port)
        else:
            yield name, default_port
    if not options.servers:
        yield from find_servers(domain_of(options.base or ""))


def domain_of(base: str) -> str:
    """Return the domain of a distinguished name (RFC 2247)."""
    parts = [part.strip().partition("=") for part in base.split(",")]
    return ".".join(value.strip() for key, _, value in parts if key.lower() == "dc")


def _connected(options: LdapOptions, host: str, port: int) -> Any:  # noqa: ANN401 - ldap3 has no types
    import ldap3  # noqa: PLC0415 - an extra that may be missing

    tls = ldap3.Tls(
        validate=ssl.CERT_REQUIRED, ca_certs_file=os.environ.get("LDAPTLS_CACERT")
    )
    server = ldap3.Server(
        host,
        port,
        use_ssl=options.scheme == "ldaps",
        tls=tls,
        get_info=ldap3.NONE,
        connect_timeout=TIMEOUT_S,
    )
    connection = ldap3.Connection(
        server,
        receive_timeout=TIMEOUT_S,
        auto_referrals=False,
        read_only=True,
    )
    connection.open()
    if options.start_tls and not connection.start_tls():
        raise DirectoryError(f"LDAP server {host}:{port} refuses StartTLS")
    return connection


def _log_in(connection: Any, options: LdapOptions, user: str, password: str) -> bool:  # noqa: ANN401 - as above
    name = f"{options.prefix}{user}{options.suffix}"
    if options.base is not None:
        found = _search(connection, options, user)
        if found is None:
            return False
        name = found
    return bool(connection.rebind(name, password, authentication="SIMPLE"))


def _search(connection: Any, options: LdapOptions, user: str) -> str | None:  # noqa: ANN401 - as above
    """Return the entry of the user, None if the search finds none or several."""
    if options.bind_dn and not connection.rebind(
        options.bind_dn, options.bind_password, authentication="SIMPLE"
    ):
        raise DirectoryError("the LDAP server refuses ldapbinddn")
    text = options.filter.replace("$username", user)
    scopes = {"base": "BASE", "one": "LEVEL", "sub": "SUBTREE"}
    connection.search(
        options.base,
        text or f"({options.attribute}={user})",
        search_scope=scopes[options.scope],
        attributes=["1.1"],  # none (RFC 4511, section 4.5.1.8)
        size_limit=2,
    )
    found = connection.response or []
    entries = [one for one in found if one["type"] == "searchResEntry"]
    return entries[0]["dn"] if len(entries) == 1 else None


def srv_finder(reactor: Any) -> FindServers:  # noqa: ANN401 - one object with many interfaces
    """Return a function that looks up the directories of a domain, the best first.

    They are the domain's SRV records (RFC 2782, ``_ldap._tcp``).  Call the function in
    a thread, because it blocks; it raises the resolver's errors.
    """

    def find(domain: str) -> list[tuple[str, int]]:
        answers, _authority, _more = blockingCallFromThread(
            reactor, client.lookupService, f"_ldap._tcp.{domain}", SRV_TIMEOUTS_S
        )
        records = [one.payload for one in answers if one.type == dns.SRV]
        records.sort(key=lambda record: (record.priority, -record.weight))
        return [(record.target.name.decode(), record.port) for record in records]

    return find
