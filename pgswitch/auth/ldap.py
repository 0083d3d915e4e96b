"""Checks a password against a directory; blocks, so it runs in a thread.

Needs the package ldap3 (``pip install 'pgswitch[ldap]'``). Certificates of servers are
verified by the authorities of the machine, or by those of the file that
``LDAPTLS_CACERT`` names (as for OpenLDAP's programs).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.threads import blockingCallFromThread
from twisted.names import client, dns

from pgswitch.auth.ldap_options import SCHEMES, LdapOptions

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
